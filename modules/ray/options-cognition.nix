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
        made. Everyone on the machine can read the value: no secrets. null: what each program is
        told.
      '';
    };
    redisPasswordFile = secretFile "/run/secrets/checkpoints-password" ''
      File with the password of a checkpoint store in Redis, outside the Nix store
      (`COGNITIVE_REDIS_PASSWORD_FILE`). On machines where people use the store, let the group of
      {option}`services.ray.group` read it.
    '';
  };
}
