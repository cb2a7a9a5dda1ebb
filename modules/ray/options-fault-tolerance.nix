# Options only: what is left of the cluster when its head dies.
{ lib, ... }:
let
  inherit (lib) mkEnableOption mkOption types;
  inherit (import ./option-types.nix { inherit lib; }) port secretFile;
in
{
  options.services.ray.faultTolerance = {
    storage = mkOption {
      type = types.enum [
        "none"
        "embedded"
        "redis"
      ];
      default = "embedded";
      description = ''
        Where the head keeps what it knows of nodes, named actors and jobs. With `embedded` it lies
        in a database below `/var/lib/ray` on the head's disk, and with `redis` in a Redis, on the
        head or elsewhere: a head that dies finds it again, and workers go on meanwhile. With `none`
        it is lost with the head's process: workers join the next one by starting anew, which ends
        their tasks and actors. Head and workers need the same value, or any two but `none`. Ray
        calls its embedded database alpha; all of this project's fault scenarios run on it.
      '';
    };

    workerReconnectTimeout = mkOption {
      type = types.ints.positive;
      default = 600;
      description = ''
        Seconds that a worker, and a driver on any machine, goes on without a head before it gives
        up; a worker then starts anew. Only with storage.
      '';
    };

    redis = {
      address = mkOption {
        type = types.nullOr (types.strMatching "[^/@]+:[0-9]+");
        default = null;
        example = "redis.example.org:6379";
        description = ''
          Host and port of a Redis of your own. null: the head runs one for itself, on loopback,
          that keeps every write on its disk before it answers. One on another machine outlives the
          head's disk.
        '';
      };
      port = port 6390 "Port of the Redis that the head runs for itself. Ray's GCS has Redis' own, 6379.";
      username = mkOption {
        type = types.nullOr types.nonEmptyStr;
        default = null;
        description = "User of {option}`services.ray.faultTolerance.redis.address`; null: its default user.";
      };
      passwordFile = secretFile "/run/secrets/ray-redis-password" ''
        File with the password of Redis in one line, outside the Nix store. The head makes one for
        a Redis of its own when it is given none.
      '';
      tls = {
        enable = mkEnableOption "TLS to {option}`services.ray.faultTolerance.redis.address`";
        caFile = secretFile "/run/secrets/redis-ca.pem" ''
          Certificate of the authority that signed the certificate of Redis. Ray compares no names,
          so take an authority that signs nothing else.
        '';
        certificateFile = secretFile "/run/secrets/redis-client.pem" ''
          Certificate of the head, for a Redis that asks its clients for one.
        '';
        keyFile = secretFile "/run/secrets/redis-client.key" "Private key of that certificate.";
        serverName = mkOption {
          type = types.nullOr types.nonEmptyStr;
          default = null;
          description = "Name that the head asks for (SNI), where several servers share an address.";
        };
      };
    };
  };
}
