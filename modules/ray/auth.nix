# The token: it reaches units as a credential, and a head that is given none makes one.
{
  config,
  lib,
  utils,
  ...
}:
let
  inherit (lib) genAttrs mkIf mkMerge;
  rayLib = import ./lib.nix { inherit lib; };
  cfg = config.services.ray;
  unit = "ray-${cfg.role}";
  env = import ./environment.nix cfg;
  makesToken = cfg.role == "head" && cfg.auth.tokenFile == null;
in
{
  config = mkIf (cfg.enable && cfg.auth.enable && cfg.role != "client") (mkMerge [
    {
      systemd.services = genAttrs (rayLib.clusterUnits cfg) (_: {
        environment = {
          RAY_AUTH_MODE = "token";
          RAY_AUTH_TOKEN_PATH = "%d/token";
        };
        serviceConfig.LoadCredential = [ "token:${rayLib.tokenFile cfg}" ];
      });
    }
    (mkIf makesToken {
      systemd.services.ray-token = {
        description = "Token of the Ray cluster ${cfg.clusterName}";
        requiredBy = [ "${unit}.service" ];
        before = [ "${unit}.service" ];
        serviceConfig = import ./sandbox.nix // {
          Type = "oneshot";
          RemainAfterExit = true;
          ExecStart = utils.escapeSystemdExecArgs [
            "${env}/bin/python3"
            "-SsE"
            "${cfg.supervisor}/make_token.py"
            rayLib.madeToken
          ];
          User = cfg.user;
          Group = cfg.group;
          StateDirectory = "ray";
          StateDirectoryMode = "0750";
          PrivateNetwork = true;
        };
      };
    })
  ]);
}
