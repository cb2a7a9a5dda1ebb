# Serve applications as one unit of the head, which keeps them deployed.
{
  config,
  lib,
  pkgs,
  utils,
  ...
}:
let
  inherit (lib) mapAttrsToList mkIf;
  rayLib = import ./lib.nix { inherit lib; };
  cfg = config.services.ray;
  env = import ./environment.nix cfg;

  # serveConfigV2.
  served = {
    proxy_location = "HeadOnly";
    applications = mapAttrsToList (
      name: application: { inherit name; } // application
    ) cfg.serve.applications;
  }
  // cfg.serve.settings
  // {
    http_options = {
      host = cfg.serve.address;
      port = cfg.ports.serve;
    }
    // cfg.serve.settings.http_options or { };
  };
in
{
  config = mkIf (cfg.enable && cfg.role == "head" && cfg.serve.applications != { }) {
    # A file in /etc, so that a change of it is a reload of the unit.
    environment.etc."ray/serve.json".text = builtins.toJSON served;

    systemd.services.ray-serve = {
      description = "Serve applications of the Ray cluster ${cfg.clusterName}";
      wants = [ "ray-head.service" ];
      # Not `requires`: a head that starts anew is given its applications again.
      after = [ "ray-head.service" ];
      wantedBy = [ "multi-user.target" ];
      reloadTriggers = [ (builtins.hashString "sha256" (builtins.toJSON served)) ];
      environment = {
        RAY_AUTH_MODE = if cfg.auth.enable then "token" else "disabled";
      }
      // lib.optionalAttrs cfg.auth.enable { RAY_AUTH_TOKEN_PATH = "%d/token"; };
      serviceConfig =
        import ./sandbox.nix
        // {
          Type = "notify";
          ExecStart = utils.escapeSystemdExecArgs [
            "${env}/bin/python3"
            "-SsE"
            "${cfg.supervisor}/ray_serve.py"
            "--address=http://${rayLib.dashboardEndpoint cfg}"
            "--config=/etc/ray/serve.json"
          ];
          ExecReload = "${lib.getExe' pkgs.coreutils "kill"} -HUP $MAINPID";
          User = cfg.user;
          Group = cfg.group;
          TimeoutStartSec = 330;
          # The head did not answer for a long time.
          RestartForceExitStatus = 69;
          RestartSec = 30;
        }
        // lib.optionalAttrs cfg.auth.enable { LoadCredential = [ "token:${rayLib.tokenFile cfg}" ]; };
    };
  };
}
