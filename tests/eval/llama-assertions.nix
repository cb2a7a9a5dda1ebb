# Language models: what cannot be, and what is said of it.
{
  lib,
  smallRay,
  small,
  messages,
  ...
}:
let
  inherit (import ./fires.nix { inherit lib messages; }) fires;
  inherit (import ./llama-nodes.nix) serving two;
in
{
  what-is-right = {
    expr = messages (smallRay two);
    expected = [ ];
  };
  without-a-cluster = fires [ "Write services.ray.enable = true;" ] (small [
    { services.ray.llama.enable = true; }
  ]);
  on-a-client = fires [ "a client runs no language models" ] (
    smallRay (
      removeAttrs (serving { }) [
        "interfaces"
        "allowedSubnets"
      ]
      // {
        role = "client";
      }
    )
  );
  nothing-to-offer = fires [ "services.ray.llama.rpcServers.CPU = { };" ] (
    smallRay (serving {
      coordinators = 0;
    })
  );
  two-devices-on-one-port =
    fires
      [
        "services.ray.llama.rpcServers.CUDA0.port (50052)"
        "services.ray.llama.rpcServers.CUDA1.port (50052)"
        "Write services.ray.llama.rpcServers.CUDA1.port = 50053;"
      ]
      (
        smallRay (serving {
          rpcServers = {
            CUDA0 = { };
            CUDA1 = { };
          };
        })
      );
  a-device-on-a-port-of-ray =
    fires
      [ "services.ray.ports.nodeManager (6380)" "Write services.ray.llama.rpcServers.CPU.port = 6382;" ]
      (
        smallRay (serving {
          rpcServers.CPU.port = 6380;
        })
      );
  coordinators-on-a-port-of-workers =
    fires [ "services.ray.ports.workers" "services.ray.llama.basePort" ]
      (
        smallRay (serving {
          basePort = 10100;
        })
      );
  more-coordinators-than-ports = fires [ "services.ray.llama.basePort = 18080;" ] (
    smallRay (serving {
      basePort = 65535;
      coordinators = 2;
    })
  );
  no-device = fires [ ''"CUDA 0" in services.ray.llama.rpcServers is no device'' ] (
    smallRay (serving {
      rpcServers."CUDA 0" = { };
    })
  );
  a-device-twice = fires [ "names one device twice (CPU, cpu)" ] (
    smallRay (serving {
      rpcServers = {
        CPU = { };
        cpu.port = 50053;
      };
    })
  );
  no-name-of-a-model = fires [ ''"a=b" in services.ray.llama.models'' ] (
    smallRay (serving {
      models."a=b" = "/srv/a.gguf";
    })
  );
  a-model-that-units-cannot-see =
    fires
      [
        ''services.ray.llama.models.a is "/home/alice/a.gguf"''
        ''"/var/lib/ray-models"''
      ]
      (
        smallRay (serving {
          models.a = "/home/alice/a.gguf";
        })
      );
  a-directory-that-units-cannot-see = fires [ ''services.ray.llama.modelsDirectory is "/tmp"'' ] (
    smallRay (serving {
      modelsDirectory = "/tmp";
    })
  );
  a-name-for-an-address = fires [ ''services.ray.nodeAddress = "10.42.0.2";'' ] (
    smallRay (serving { rpcServers.CPU = { }; } // { nodeAddress = "worker.example.org"; })
  );
  nothing-keeps-strangers-out = fires [ "networking.firewall.enable = true;" ] (small [
    {
      networking.firewall.enable = false;
      services.ray = {
        enable = true;
      }
      // serving { rpcServers.CPU = { }; }
      // {
        allowedSubnets = [ ];
      };
    }
  ]);
  nobody-is-let-in = {
    expr =
      lib.filter (lib.hasInfix "the firewall lets no coordinator of another node in")
        (smallRay (
          serving { rpcServers.CPU = { }; }
          // {
            interfaces = [ ];
            allowedSubnets = [ ];
          }
        )).warnings != [ ];
    expected = true;
  };
  a-password-in-the-url = fires [ "services.ray.llama.redis.passwordFile = " ] (
    smallRay (serving {
      redis.url = "redis://:secret@10.0.0.9:6391";
    })
  );
  a-password-in-the-store = fires [ "services.ray.llama.redis.passwordFile lies in the Nix store" ] (
    smallRay (serving {
      redis = {
        url = "redis://10.0.0.9:6391";
        passwordFile = ./default.nix;
      };
    })
  );
  a-password-of-no-redis = fires [ "services.ray.llama.redis.url names none" ] (
    smallRay (serving {
      redis.passwordFile = "/run/secrets/redis";
    })
  );
}
