# Where the head's state and the checkpoints lie: what the units are told of it, and what they may do.
{
  lib,
  ray,
  head,
  rayLib,
  ...
}:
let
  joined = {
    role = "worker";
    headAddress = "10.0.0.1";
    nodeAddress = "10.0.0.2";
    auth.tokenFile = "/run/secrets/token";
  };
  headUnitWith = settings: (ray settings).systemd.services.ray-head;
  forgetful = {
    faultTolerance.storage = "none";
  };
  withRedis = redis: {
    faultTolerance = {
      storage = "redis";
      inherit redis;
    };
  };
  ownRedis = ray (withRedis { });
  forgotten = ray (joined // forgetful);
  timeout = "RAY_gcs_rpc_server_reconnect_timeout_s";
  # Tasks have tests of their own.
  isOfCheckpoints = name: lib.hasPrefix "COGNITIVE_" name && name != "COGNITIVE_TASKS";
  ofCheckpoints = lib.filterAttrs (name: _: isOfCheckpoints name);
in
{
  without-storage-workers-join-anew = {
    expr = {
      head = (headUnitWith forgetful).environment ? RAY_gcs_storage;
      worker =
        forgotten.systemd.services.ray-worker.environment.RAY_raylet_liveness_self_check_interval_ms;
      drivers = forgotten.environment.variables ? ${timeout};
    };
    expected = {
      head = false;
      worker = "5000";
      drivers = false;
    };
  };
  it-lies-on-the-heads-disk-by-default = {
    expr = {
      inherit (head.systemd.services.ray-head.environment) RAY_gcs_storage RAY_gcs_storage_path;
      redis = head.services.redis.servers ? ray;
    };
    expected = {
      RAY_gcs_storage = "rocksdb";
      RAY_gcs_storage_path = "/var/lib/ray/gcs";
      redis = false;
    };
  };
  with-storage-the-head-is-waited-for = {
    expr = lib.genAttrs [ "embedded" "redis" ] (
      storage:
      let
        given = {
          faultTolerance = {
            inherit storage;
            workerReconnectTimeout = 700;
          };
        };
        waiting = ray (joined // given);
        workerUnit = waiting.systemd.services.ray-worker.environment;
      in
      {
        worker = workerUnit.${timeout};
        impatient = workerUnit ? RAY_raylet_liveness_self_check_interval_ms;
        head = (headUnitWith given).environment.${timeout};
        drivers = waiting.environment.variables.${timeout};
        client = (ray (joined // given // { role = "client"; })).environment.variables.${timeout};
      }
    );
    expected = lib.genAttrs [ "embedded" "redis" ] (_: {
      worker = "700";
      impatient = false;
      head = "700";
      drivers = "700";
      client = "700";
    });
  };
  a-head-runs-its-own-redis = {
    expr = {
      inherit (ownRedis.services.redis.servers.ray)
        enable
        port
        bind
        unixSocket
        appendOnly
        appendFsync
        requirePassFile
        ;
      policy = ownRedis.services.redis.servers.ray.settings.maxmemory-policy;
      restart = ownRedis.systemd.services.redis-ray.serviceConfig.Restart;
      address = ownRedis.systemd.services.ray-head.environment.RAY_REDIS_ADDRESS;
      namespace = ownRedis.systemd.services.ray-head.environment.RAY_external_storage_namespace;
      credentials = ownRedis.systemd.services.ray-head.serviceConfig.LoadCredential;
      told = ownRedis.systemd.services.ray-head.environment.RAYNIXOS_REDIS_PASSWORD_FILE;
      after = lib.elem "redis-ray.service" ownRedis.systemd.services.ray-head.after;
      wants = lib.elem "redis-ray.service" ownRedis.systemd.services.ray-head.wants;
      password = {
        inherit (ownRedis.systemd.services.ray-redis-password) requiredBy before;
        inherit (ownRedis.systemd.services.ray-redis-password.serviceConfig)
          User
          StateDirectory
          StateDirectoryMode
          ;
      };
    };
    expected = {
      enable = true;
      port = 6390;
      bind = "127.0.0.1";
      unixSocket = null;
      appendOnly = true;
      appendFsync = "always";
      requirePassFile = "/var/lib/redis-ray/password";
      policy = "noeviction";
      restart = "always";
      address = "127.0.0.1:6390";
      namespace = "ray";
      credentials = [
        "token:/var/lib/ray/token"
        "redis-password:/var/lib/redis-ray/password"
      ];
      told = "%d/redis-password";
      after = true;
      wants = true;
      password = {
        requiredBy = [ "redis-ray.service" ];
        before = [ "redis-ray.service" ];
        User = "redis-ray";
        StateDirectory = "redis-ray";
        StateDirectoryMode = "0700";
      };
    };
  };
  only-with-redis-is-ray-started-otherwise = {
    expr = map (lib.hasInfix ''/ray_with_redis.py" "start" "--block"'') (
      map (settings: (headUnitWith settings).serviceConfig.ExecStart) [
        { }
        forgetful
        (withRedis { })
        (withRedis { address = "10.0.0.9:6379"; })
      ]
    );
    expected = [
      false
      false
      true
      true
    ];
  };
  its-port-is-not-opened = {
    expr = lib.filter (port: port.from == 6390) (rayLib.openPorts ownRedis.services.ray);
    expected = [ ];
  };
  a-given-password-is-not-made = {
    expr =
      let
        given = ray (withRedis {
          passwordFile = "/run/secrets/redis";
        });
      in
      {
        made = given.systemd.services ? ray-redis-password;
        redis = given.services.redis.servers.ray.requirePassFile;
        credentials = given.systemd.services.ray-head.serviceConfig.LoadCredential;
      };
    expected = {
      made = false;
      redis = "/run/secrets/redis";
      credentials = [
        "token:/var/lib/ray/token"
        "redis-password:/run/secrets/redis"
      ];
    };
  };
  workers-have-no-redis = {
    expr =
      let
        config = ray (joined // withRedis { });
      in
      {
        redis = config.services.redis.servers ? ray;
        told = lib.attrNames (
          lib.filterAttrs (name: _: lib.hasInfix "REDIS" name) config.systemd.services.ray-worker.environment
        );
      };
    expected = {
      redis = false;
      told = [ ];
    };
  };
  a-redis-elsewhere =
    let
      elsewhere = ray (withRedis {
        address = "redis.example.org:6379";
        username = "ray";
        passwordFile = "/run/secrets/redis";
        tls = {
          enable = true;
          caFile = "/run/secrets/redis-ca.pem";
          certificateFile = "/run/secrets/redis.pem";
          keyFile = "/run/secrets/redis.key";
          serverName = "redis.example.org";
        };
      });
      unit = elsewhere.systemd.services.ray-head;
    in
    {
      expr = {
        environment = lib.filterAttrs (name: _: lib.hasInfix "REDIS" name) unit.environment;
        credentials = unit.serviceConfig.LoadCredential;
        own = elsewhere.services.redis.servers ? ray;
        user = lib.filter (lib.hasInfix "redis") (rayLib.startArguments elsewhere.services.ray);
      };
      expected = {
        environment = {
          RAY_REDIS_ADDRESS = "rediss://redis.example.org:6379";
          RAY_REDIS_CA_CERT = "%d/redis-ca";
          RAY_REDIS_CLIENT_CERT = "%d/redis-certificate";
          RAY_REDIS_CLIENT_KEY = "%d/redis-key";
          RAY_REDIS_SERVER_NAME = "redis.example.org";
          RAYNIXOS_REDIS_PASSWORD_FILE = "%d/redis-password";
        };
        credentials = [
          "token:/var/lib/ray/token"
          "redis-password:/run/secrets/redis"
          "redis-ca:/run/secrets/redis-ca.pem"
          "redis-certificate:/run/secrets/redis.pem"
          "redis-key:/run/secrets/redis.key"
        ];
        own = false;
        user = [ "--redis-username=ray" ];
      };
    };

  checkpoints-in-a-directory = {
    expr =
      lib.genAttrs
        [
          "/srv/shared/checkpoints"
          "file:///srv/shared/checkpoints"
        ]
        (
          checkpointDirectory:
          let
            config = ray (joined // { cognition = { inherit checkpointDirectory; }; });
            unit = config.systemd.services.ray-worker;
          in
          {
            inherit (unit.serviceConfig) ReadWritePaths;
            inherit (unit.unitConfig) RequiresMountsFor;
            made = config.systemd.tmpfiles.settings.ray-checkpoints."/srv/shared/checkpoints".d;
            unit = unit.environment.COGNITIVE_CHECKPOINTS == checkpointDirectory;
            people = config.environment.variables.COGNITIVE_CHECKPOINTS == checkpointDirectory;
          }
        );
    expected =
      lib.genAttrs
        [
          "/srv/shared/checkpoints"
          "file:///srv/shared/checkpoints"
        ]
        (_: {
          ReadWritePaths = [ "/srv/shared/checkpoints" ];
          RequiresMountsFor = [ "/srv/shared/checkpoints" ];
          made = {
            mode = "0770";
            user = "ray";
            group = "ray";
            age = "-";
            argument = "";
            type = "d";
          };
          unit = true;
          people = true;
        });
  };
  checkpoints-in-redis = {
    expr =
      let
        config = ray {
          cognition = {
            checkpointDirectory = "redis://10.0.0.9:6379";
            redisPasswordFile = "/run/secrets/checkpoints";
          };
        };
        unit = config.systemd.services.ray-head;
      in
      {
        people = ofCheckpoints config.environment.variables;
        unit = ofCheckpoints unit.environment;
        credential = lib.last unit.serviceConfig.LoadCredential;
        paths = unit.serviceConfig.ReadWritePaths;
        made = config.systemd.tmpfiles.settings ? ray-checkpoints;
      };
    expected = {
      people = {
        COGNITIVE_CHECKPOINTS = "redis://10.0.0.9:6379";
        COGNITIVE_REDIS_PASSWORD_FILE = "/run/secrets/checkpoints";
      };
      unit = {
        COGNITIVE_CHECKPOINTS = "redis://10.0.0.9:6379";
        COGNITIVE_REDIS_PASSWORD_FILE = "%d/checkpoints-password";
      };
      credential = "checkpoints-password:/run/secrets/checkpoints";
      paths = [ "/var/lib/ray-tasks" ];
      made = false;
    };
  };
  a-client-knows-of-the-checkpoints = {
    expr =
      let
        config = ray (
          joined
          // {
            role = "client";
            cognition.checkpointDirectory = "/srv/shared/checkpoints";
          }
        );
      in
      {
        people = ofCheckpoints config.environment.variables;
        made = config.systemd.tmpfiles.settings ? ray-checkpoints;
      };
    expected = {
      people.COGNITIVE_CHECKPOINTS = "/srv/shared/checkpoints";
      made = false;
    };
  };
}
