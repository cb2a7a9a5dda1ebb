# Options only: what the bundled cognitive_actors are told on every machine of the cluster.
{ lib, ... }:
let
  inherit (lib) mkOption types;
  inherit (import ./option-types.nix { inherit lib; }) secretFile;
in
{
  options.services.ray.cognition = {
    checkpointDirectory = mkOption {
      type = types.nullOr types.nonEmptyStr;
      default = null;
      example = "/srv/shared/checkpoints";
      description = ''
        Where actors keep their checkpoints (`COGNITIVE_CHECKPOINTS`): a directory that all nodes
        share, which is made where it is missing, or the URL of a store, such as
        `redis://10.42.0.1:6391` or `s3://bucket/folder`. Make a directory on a network file system
        yourself, for the group of {option}`services.ray.group`: it is mounted after directories are
        made. Say the same on every machine of the cluster: what Ray starts again on one that is not
        told begins anew there. Everyone on the machine can read the value: no secrets. null: what
        each program is told.
      '';
    };
    redisPasswordFile = secretFile "/run/secrets/checkpoints-password" ''
      File with the password of a checkpoint store in Redis, outside the Nix store
      (`COGNITIVE_REDIS_PASSWORD_FILE`). On machines where people use the store, let the group of
      {option}`services.ray.group` read it.
    '';
    tasks = mkOption {
      type = types.nullOr types.nonEmptyStr;
      default = "/var/lib/ray-tasks/tasks.db";
      example = "postgresql://ray@10.42.0.9/tasks";
      description = ''
        Where durable tasks are kept (`COGNITIVE_TASKS`), the same on all machines of the cluster: an
        SQLite file on the head, in a directory that has nothing else in it and is made for
        {option}`services.ray.user`, or a database of PostgreSQL that all nodes reach. Programs reach
        the file through the cluster, on whatever machine they are. Everyone on the machine can read
        the value: no secrets. null: what each program is told.
      '';
    };
    tasksPasswordFile = secretFile "/run/secrets/tasks-password" ''
      File with the password of the database of {option}`services.ray.cognition.tasks` in one line,
      outside the Nix store (`COGNITIVE_TASKS_PASSWORD_FILE`), on every machine that uses it. Not in
      the format of PostgreSQL's own password file: that one must not be readable by a group, and
      credentials of systemd are. On machines where people use the tasks, let the group of
      {option}`services.ray.group` read it.
    '';
  };
}
