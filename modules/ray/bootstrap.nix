# What the head sees to on a cluster that has begun, as one unit: `cognitive bootstrap`, a driver on
# the head's own node.
{
  config,
  lib,
  utils,
  ...
}:
let
  inherit (lib) mkDefault mkIf;
  rayLib = import ./lib.nix { inherit lib; };
  cfg = config.services.ray;
  inherit (cfg.bootstrap) timeout;
  env = import ./environment.nix cfg;
  attempts = 10;
  pause = 15;
in
{
  config = mkIf (cfg.enable && rayLib.bootstraps cfg) {
    systemd.services.ray-bootstrap = {
      description = "Agents and dispatchers of the Ray cluster ${cfg.clusterName}";
      after = [
        "ray-head.service"
        "ray-serve.service"
      ];
      # A head that starts anew, asked to or by itself, takes this unit along (partOf); one that is
      # started after a stop begins it (wantedBy). Not bindsTo: nothing would begin it again then. And
      # it does not want the head: that would be started again without the pause that it makes.
      partOf = [ "ray-head.service" ];
      wantedBy = [
        "multi-user.target"
        "ray-head.service"
      ];
      # An attempt fails when one of its waits is over. New heads count as well: hence not fewer.
      startLimitBurst = attempts;
      startLimitIntervalSec = attempts * 2 * (timeout + pause);
      environment = {
        RAY_AUTH_MODE = mkDefault "disabled";
        RAY_USAGE_STATS_ENABLED = "0";
        RAYNIXOS_NAMESPACE = cfg.namespace;
        HOME = "%t/ray-bootstrap";
      };
      serviceConfig = import ./sandbox.nix // {
        # Not exec, as a job is: up means that all is there, and a switch waits for that and says so.
        Type = "oneshot";
        RemainAfterExit = true;
        ExecStart = utils.escapeSystemdExecArgs (
          [ "${env}/bin/cognitive" ] ++ rayLib.bootstrapArguments cfg
        );
        User = cfg.user;
        Group = cfg.group;
        RuntimeDirectory = "ray-bootstrap";
        # A driver looks for its raylet among the processes. That one is in a user namespace of its own,
        # and invisible to all others, those of the same user included.
        ProtectProc = "default";
        # A driver's log is beside those of the node.
        ReadWritePaths = [ "-${rayLib.temporaryDirectory}" ];
        # The command ends by itself before: it has fewer waits.
        TimeoutStartSec = 10 * timeout;
        TimeoutStopSec = 30;
        Restart = "on-failure";
        RestartSec = pause;
        # The arguments are wrong: no start will change that.
        RestartPreventExitStatus = 2;
      };
    };
  };
}
