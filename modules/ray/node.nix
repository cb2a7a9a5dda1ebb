# What head and worker share: the unit, its user, its environment.
{
  config,
  lib,
  pkgs,
  utils,
  ...
}:
let
  inherit (lib) mkDefault mkIf;
  rayLib = import ./lib.nix { inherit lib; };
  cfg = config.services.ray;
  env = import ./environment.nix cfg;
  drainDeadline =
    if cfg.drain.deadline != null then
      cfg.drain.deadline
    else if cfg.role == "head" then
      0
    else
      30;
in
{
  config = mkIf (cfg.enable && cfg.role != "client") {
    # Ray takes 127.0.0.1 for "some address of this machine" and looks for one that others can reach.
    services.ray.nodeAddress = mkIf (cfg.role == "head") (mkDefault "127.0.0.2");
    services.ray.resources.labels."ray-nixos/cluster" = cfg.clusterName;

    users.users = mkIf (cfg.user == "ray") {
      ray = {
        isSystemUser = true;
        inherit (cfg) group;
        home = rayLib.stateDirectory;
        description = "Ray node";
      };
    };

    # Others need /dev/shm as well: Ray refuses a store that fills it.
    boot.devShmSize = mkIf (cfg.resources.objectStore != null) (
      mkDefault (toString (cfg.resources.objectStore + 512 * 1024 * 1024))
    );

    systemd.services."ray-${cfg.role}" = {
      description = "Ray ${cfg.role} of the cluster ${cfg.clusterName}";
      documentation = [ "https://docs.ray.io/" ];
      wantedBy = [ "multi-user.target" ];
      wants = [ "network-online.target" ];
      after = [ "network-online.target" ];
      inherit (cfg) restartIfChanged;
      # A head that comes late, or a token, is waited for without end.
      startLimitIntervalSec = 0;
      # Ray starts its workers and its client server by `bash -c`.
      path = [
        env
        pkgs.bash
      ];
      environment = {
        RAY_AUTH_MODE = mkDefault "disabled";
        RAY_USAGE_STATS_ENABLED = "0";
        RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S = toString drainDeadline;
        RAYNIXOS_NAMESPACE = cfg.namespace;
        HOME = rayLib.stateDirectory;
      }
      // cfg.environment;
      serviceConfig = import ./sandbox.nix // {
        Type = "notify";
        ExecStart = utils.escapeSystemdExecArgs (
          [
            "${env}/bin/python3"
            "-SsE"
            "${cfg.supervisor}/ray_node.py"
          ]
          ++ rayLib.supervisorArguments cfg
          ++ [ "--" ]
          ++ rayLib.startProgram cfg env
          ++ rayLib.startArguments cfg
        );
        User = cfg.user;
        Group = cfg.group;
        StateDirectory = "ray ray/spill";
        StateDirectoryMode = "0750";
        WorkingDirectory = rayLib.stateDirectory;

        # Only the supervisor hears SIGTERM: with the GCS ended at the same time, Ray hangs.
        KillMode = "mixed";
        TimeoutStartSec = 120;
        TimeoutStopSec = drainDeadline + 30;
        WatchdogSec = 60;
        Restart = "always";
        RestartSec = 2;
        # The machine is not what was declared: no start will change that.
        RestartPreventExitStatus = 78;
        # One task that takes too much memory does not take the node with it.
        OOMPolicy = "continue";
        TasksMax = "infinity";
        LimitNOFILE = 524288;
        LimitCORE = 0;
      };
    };
  };
}
