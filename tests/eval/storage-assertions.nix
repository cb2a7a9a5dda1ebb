# The assertions on where the head's state and the checkpoints lie: each fires, alone, and says what
# to write instead.
{
  lib,
  smallRay,
  messages,
  ...
}:
let
  inherit (import ./fires.nix { inherit lib messages; }) says fires;
  withRedis = redis: {
    faultTolerance = {
      storage = "redis";
      inherit redis;
    };
  };
  passwordWords = [
    "services.ray.cognition.checkpointDirectory has a password in it"
    "services.ray.cognition.redisPasswordFile = "
    "COGNITIVE_REDIS_PASSWORD_FILE"
  ];
in
{
  port-of-the-heads-own-redis =
    fires
      [
        "services.ray.ports.gcs (6379)"
        "services.ray.faultTolerance.redis.port (6379)"
        "Write services.ray.faultTolerance.redis.port = 6382;"
      ]
      (smallRay {
        faultTolerance = {
          storage = "redis";
          redis.port = 6379;
        };
      });
  port-of-a-redis-elsewhere-is-free-here = {
    expr = messages (
      smallRay (withRedis {
        address = "10.0.0.9:6379";
        port = 6379;
        passwordFile = "/run/secrets/redis";
      })
    );
    expected = [ ];
  };
  redis-password-in-the-store =
    fires
      [
        "services.ray.faultTolerance.redis.passwordFile lies in the Nix store"
        ''services.ray.faultTolerance.redis.passwordFile = "/run/secrets/…"''
      ]
      (
        smallRay (withRedis {
          passwordFile = ./default.nix;
        })
      );
  redis-key-in-the-store =
    fires [ "services.ray.faultTolerance.redis.tls.keyFile lies in the Nix store" ]
      (
        smallRay (withRedis {
          tls = {
            certificateFile = "/run/secrets/redis.pem";
            keyFile = ./default.nix;
          };
        })
      );
  redis-tls-without-address =
    fires [ ''services.ray.faultTolerance.redis.address = "redis.example.org:6379";'' ]
      (
        smallRay (withRedis {
          tls = {
            enable = true;
            caFile = "/run/secrets/ca.pem";
          };
        })
      );
  redis-username-without-address =
    fires
      [
        "services.ray.faultTolerance.redis.username is for a Redis elsewhere"
        ''services.ray.faultTolerance.redis.address = "redis.example.org:6379";''
      ]
      (
        smallRay (withRedis {
          username = "ray";
        })
      );
  redis-tls-without-authority =
    fires [ ''services.ray.faultTolerance.redis.tls.caFile = "/run/secrets/redis-ca.pem";'' ]
      (
        smallRay (withRedis {
          address = "10.0.0.9:6379";
          passwordFile = "/run/secrets/redis";
          tls.enable = true;
        })
      );
  redis-certificate-without-key = fires [ "services.ray.faultTolerance.redis.tls.keyFile, or none" ] (
    smallRay (withRedis {
      tls.certificateFile = "/run/secrets/redis.pem";
    })
  );
  a-url-is-no-address-of-redis = {
    expr =
      map
        (
          address:
          (builtins.tryEval
            (smallRay (withRedis {
              inherit address;
            })).services.ray.faultTolerance.redis.address
          ).success
        )
        [
          "10.0.0.9:6379"
          "[fd00::9]:6379"
          "10.0.0.9"
          "redis://10.0.0.9:6379"
          "ray:secret@10.0.0.9:6379"
        ];
    expected = [
      true
      true
      false
      false
      false
    ];
  };
  checkpoints-password-in-the-store =
    fires [ "services.ray.cognition.redisPasswordFile lies in the Nix store" ]
      (smallRay {
        cognition.redisPasswordFile = ./default.nix;
      });
  checkpoints-with-a-password = {
    expr =
      lib.genAttrs
        [
          "redis://:secret@10.0.0.9:6379/0"
          "rediss://ray:secret@10.0.0.9"
        ]
        (
          url:
          says passwordWords (smallRay {
            cognition.checkpointDirectory = url;
          })
        );
    expected =
      lib.genAttrs
        [
          "redis://:secret@10.0.0.9:6379/0"
          "rediss://ray:secret@10.0.0.9"
        ]
        (_: {
          count = 1;
          words = [ ];
        });
  };
  checkpoints-in-a-place = {
    expr =
      lib.concatMap
        (
          url:
          messages (smallRay {
            cognition.checkpointDirectory = url;
          })
        )
        [
          "/srv/shared/checkpoints"
          "file:///srv/shared/checkpoints"
          "redis://10.0.0.9:6379/0"
          "redis://ray@10.0.0.9:6379/0"
          "s3://bucket/a:b@c"
        ];
    expected = [ ];
  };
  checkpoints-in-no-place =
    fires [ "\"/srv/shared/checkpoints\"" "\"redis://10.42.0.1:6391\"" ]
      (smallRay {
        cognition.checkpointDirectory = "checkpoints";
      });

  a-redis-open-to-all-warns = {
    expr =
      map
        (
          redis:
          lib.filter (lib.hasInfix "services.ray.faultTolerance.redis.passwordFile is null") (smallRay (
            withRedis redis
          )).warnings != [ ]
        )
        [
          { address = "10.0.0.9:6379"; }
          {
            address = "10.0.0.9:6379";
            passwordFile = "/run/secrets/redis";
          }
          {
            address = "10.0.0.9:6379";
            tls = {
              enable = true;
              caFile = "/run/secrets/ca.pem";
              certificateFile = "/run/secrets/redis.pem";
              keyFile = "/run/secrets/redis.key";
            };
          }
          { }
        ];
    expected = [
      true
      false
      false
      false
    ];
  };
}
