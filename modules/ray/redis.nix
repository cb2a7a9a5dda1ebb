# The Redis that the head's GCS keeps its state in: one on this machine, or one that is given. Its
# password reaches Ray as a credential only, see pkgs/ray-node/ray_with_redis.py.
{
  config,
  lib,
  utils,
  ...
}:
let
  inherit (lib)
    mkIf
    mkMerge
    optional
    optionalAttrs
    optionals
    ;
  rayLib = import ./lib.nix { inherit lib; };
  cfg = config.services.ray;
  inherit (cfg.faultTolerance) redis;
  env = import ./environment.nix cfg;

  loopback = "127.0.0.1";
  ours = config.services.redis.servers.ray;
  unit = "redis-ray";
  # Beside the data that it opens, where only Redis may enter.
  madePassword = "/var/lib/${unit}/password";
  makesPassword = rayLib.runsRedis cfg && redis.passwordFile == null;
  passwordFile = if makesPassword then madePassword else redis.passwordFile;

  address = if redis.address != null then redis.address else "${loopback}:${toString redis.port}";
in
{
  config = mkIf (cfg.enable && rayLib.usesRedis cfg) (mkMerge [
    {
      systemd.services.ray-head = {
        environment = {
          RAY_REDIS_ADDRESS = if redis.tls.enable then "rediss://${address}" else address;
          RAY_external_storage_namespace = cfg.clusterName;
        }
        // optionalAttrs (passwordFile != null) { RAYNIXOS_REDIS_PASSWORD_FILE = "%d/redis-password"; }
        // optionalAttrs redis.tls.enable (
          {
            RAY_REDIS_CA_CERT = "%d/redis-ca";
          }
          // optionalAttrs (redis.tls.certificateFile != null) {
            RAY_REDIS_CLIENT_CERT = "%d/redis-certificate";
            RAY_REDIS_CLIENT_KEY = "%d/redis-key";
          }
          // optionalAttrs (redis.tls.serverName != null) { RAY_REDIS_SERVER_NAME = redis.tls.serverName; }
        );
        serviceConfig.LoadCredential =
          optional (passwordFile != null) "redis-password:${passwordFile}"
          ++ optionals redis.tls.enable (
            [ "redis-ca:${toString redis.tls.caFile}" ]
            ++ optionals (redis.tls.certificateFile != null) [
              "redis-certificate:${redis.tls.certificateFile}"
              "redis-key:${toString redis.tls.keyFile}"
            ]
          );
      };
    }
    (mkIf (rayLib.runsRedis cfg) {
      services.redis.servers.ray = {
        enable = true;
        inherit (redis) port;
        bind = loopback;
        # Ray speaks to Redis over TCP.
        unixSocket = null;
        requirePassFile = passwordFile;
        # What a driver was told is there, an actor or a job, is there after a power cut too. The GCS
        # writes little: once for an actor, a job or a node, and never for a task or an object.
        appendOnly = true;
        appendFsync = "always";
        save = [ ];
        # A state with holes is worse than one that takes no more.
        settings.maxmemory-policy = "noeviction";
      };
      systemd.services.${unit} = {
        startLimitIntervalSec = 0;
        serviceConfig = {
          Restart = "always";
          RestartSec = 1;
        };
      };
      # Wanted, not required: a head whose Redis is away ends, and starts again until it is back.
      systemd.services.ray-head = {
        wants = [ "${unit}.service" ];
        after = [ "${unit}.service" ];
      };
    })
    (mkIf makesPassword {
      systemd.services.ray-redis-password = {
        description = "Password of the Redis of the Ray cluster ${cfg.clusterName}";
        requiredBy = [ "${unit}.service" ];
        before = [ "${unit}.service" ];
        serviceConfig = import ./sandbox.nix // {
          Type = "oneshot";
          RemainAfterExit = true;
          ExecStart = utils.escapeSystemdExecArgs [
            "${env}/bin/python3"
            "-SsE"
            "${cfg.supervisor}/make_token.py"
            madePassword
          ];
          User = ours.user;
          Group = ours.user;
          StateDirectory = unit;
          StateDirectoryMode = "0700";
          PrivateNetwork = true;
        };
      };
    })
  ]);
}
