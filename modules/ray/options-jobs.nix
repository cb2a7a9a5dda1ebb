# Options only: jobs that the head runs on the cluster.
{ lib, ... }:
let
  inherit (lib)
    literalExpression
    mkOption
    types
    ;

  amount =
    description:
    mkOption {
      type = types.nullOr (types.either types.ints.unsigned types.float);
      default = null;
      inherit description;
    };

  job = {
    options = {
      entrypoint = mkOption {
        type = types.nonEmptyStr;
        example = "python3 train.py";
        description = ''
          Shell command that Ray runs on the head, with the PATH of the node. Everyone on the machine
          can read it: no secrets.
        '';
      };
      runtimeEnv = mkOption {
        type = types.attrsOf types.anything;
        default = { };
        example = literalExpression ''
          {
            working_dir = "''${./training}";
            env_vars.EPOCHS = "10";
          }
        '';
        description = ''
          [Runtime environment](https://docs.ray.io/en/latest/ray-core/handling-dependencies.html) of
          the job. Everyone on the machine can read it: no secrets. For Python packages see
          {option}`services.ray.extraPythonPackages`.
        '';
      };
      resources = {
        cpus = amount "CPUs that are reserved for the entrypoint itself.";
        gpus = amount "GPUs that are reserved for the entrypoint itself.";
        memory = mkOption {
          type = types.nullOr types.ints.positive;
          default = null;
          description = "Bytes of memory that are reserved for the entrypoint itself.";
        };
        custom = mkOption {
          type = types.attrsOf (types.either types.ints.unsigned types.float);
          default = { };
          description = "Custom resources that are reserved for the entrypoint itself.";
        };
      };
      schedule = mkOption {
        type = types.nullOr (types.either types.nonEmptyStr (types.nonEmptyListOf types.nonEmptyStr));
        default = null;
        example = "Mon..Fri 06:00 Europe/Berlin";
        description = ''
          When the job runs, as {manpage}`systemd.time(7)` writes calendar events. A time that passed
          while the machine was off is made up for; while one run goes on, no other begins. null: the
          job runs once, as soon as the head is up, and again only when it is another job than it was.
        '';
      };
      retries = mkOption {
        type = types.ints.unsigned;
        default = 0;
        description = ''
          How many times a job that fails is tried again, after 10 s and then twice as long each time,
          up to 6 min. A job that dies with its head has failed.
        '';
      };
      timeout = mkOption {
        type = types.nullOr types.ints.positive;
        default = null;
        example = 3600;
        description = "Seconds for all attempts together, after which the job is stopped and has failed.";
      };
      history = mkOption {
        type = types.ints.positive;
        default = 5;
        description = "How many finished jobs of this name the head remembers. Logs are not deleted.";
      };
    };
  };
in
{
  options.services.ray.jobs = mkOption {
    type = types.attrsOf (types.submodule job);
    default = { };
    example = {
      evaluate = {
        entrypoint = "python3 -m evaluation";
        schedule = "daily";
        retries = 2;
      };
    };
    description = ''
      Jobs on the cluster, each a unit `ray-job-NAME` of the head: what the job prints is in the
      unit's journal, and the unit fails when the job does. Stopping the unit stops the job. A unit
      that starts again finds the job that it began, as long as
      {option}`services.ray.faultTolerance.storage` is not `none`.
    '';
  };
}
