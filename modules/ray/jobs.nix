# Jobs as units of the head: each submits its job, follows it, and ends as the job does.
{
  config,
  lib,
  utils,
  ...
}:
let
  inherit (lib) mapAttrs' mkIf nameValuePair;
  rayLib = import ./lib.nix { inherit lib; };
  cfg = config.services.ray;
  env = import ./environment.nix cfg;

  unitOf =
    name: job:
    let
      isScheduled = job.schedule != null;
    in
    {
      description = "Ray job ${name} on the cluster ${cfg.clusterName}";
      wants = [ "ray-head.service" ];
      # Not `requires`: a head that starts anew is waited for.
      after = [ "ray-head.service" ];
      wantedBy = lib.optional (!isScheduled) "multi-user.target";
      startAt = lib.optionals isScheduled (lib.toList job.schedule);
      # A run that has begun ends as it began; the next one is another.
      restartIfChanged = !isScheduled;
      environment = {
        RAY_AUTH_MODE = if cfg.auth.enable then "token" else "disabled";
        RAY_USAGE_STATS_ENABLED = "0";
        HOME = "%t/ray-job-${name}";
      }
      // lib.optionalAttrs cfg.auth.enable { RAY_AUTH_TOKEN_PATH = "%d/token"; };
      serviceConfig =
        import ./sandbox.nix
        // {
          # Not oneshot: neither the boot nor a switch waits for a job.
          Type = "exec";
          ExecStart = utils.escapeSystemdExecArgs (
            [
              "${env}/bin/python3"
              "-P"
              "${cfg.supervisor}/ray_job.py"
            ]
            ++ rayLib.jobArguments cfg name job
          );
          User = cfg.user;
          Group = cfg.group;
          RuntimeDirectory = "ray-job-${name}";
          TimeoutStopSec = 30;
          # The head did not answer for a long time.
          RestartForceExitStatus = 69;
          RestartSec = 30;
        }
        // lib.optionalAttrs cfg.auth.enable { LoadCredential = [ "token:${rayLib.tokenFile cfg}" ]; };
    };
in
{
  config = mkIf (cfg.enable && cfg.role == "head") {
    systemd.services = mapAttrs' (
      name: job: nameValuePair "ray-job-${name}" (unitOf name job)
    ) cfg.jobs;
    # A time that passed while the machine was off is made up for.
    systemd.timers = mapAttrs' (
      name: _:
      nameValuePair "ray-job-${name}" {
        timerConfig = {
          Persistent = true;
          AccuracySec = "1s";
        };
      }
    ) (lib.filterAttrs (_: job: job.schedule != null) cfg.jobs);
  };
}
