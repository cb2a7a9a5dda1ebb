# Each assertion fires, alone, and says what to write instead.
{
  lib,
  smallRay,
  small,
  messages,
  pkgs,
  ...
}:
let
  inherit (import ./fires.nix { inherit lib messages; }) fires;
  worker = {
    role = "worker";
    headAddress = "10.0.0.1";
    nodeAddress = "10.0.0.2";
    auth.tokenFile = "/run/secrets/token";
  };
  without = name: removeAttrs worker [ name ];
  certificates = {
    enable = true;
    certificateFile = "/run/secrets/node.pem";
    keyFile = "/run/secrets/node.key";
    caFile = "/run/secrets/ca.pem";
  };
in
{
  enabling-is-enough = {
    expr = messages (smallRay { });
    expected = [ ];
  };
  a-worker-with-all-it-needs = {
    expr = messages (smallRay worker);
    expected = [ ];
  };
  worker-without-head = fires [ ''services.ray.headAddress = "10.42.0.1"'' ] (
    smallRay (without "headAddress")
  );
  worker-without-address = fires [ ''services.ray.nodeAddress = "10.42.0.2"'' ] (
    smallRay (without "nodeAddress")
  );
  worker-on-loopback = fires [ "cannot be reached at 127.0.0.3" ] (
    smallRay (worker // { nodeAddress = "127.0.0.3"; })
  );
  an-address-that-ray-would-replace =
    fires [ ''services.ray.nodeAddress = "127.0.0.2";'' ]
      (smallRay {
        nodeAddress = "127.0.0.1";
      });
  worker-without-token = fires [
    "a worker must be given the token"
    "/var/lib/ray/token"
    ''services.ray.auth.tokenFile = "/run/secrets/ray-token"''
  ] (smallRay (without "auth"));
  client-without-token = fires [ "a client must be given the token" ] (smallRay {
    role = "client";
    headAddress = "10.0.0.1";
  });
  client-without-head = fires [ ''the role "client" needs the address of the head'' ] (smallRay {
    role = "client";
    auth.tokenFile = "/run/secrets/token";
  });
  token-in-the-store =
    fires
      [
        "services.ray.auth.tokenFile lies in the Nix store"
        "sops-nix"
      ]
      (smallRay {
        auth.tokenFile = ./default.nix;
      });
  token-in-the-store-as-text =
    fires [ "services.ray.auth.tokenFile lies in the Nix store" ]
      (smallRay {
        auth.tokenFile = "${builtins.storeDir}/00000000000000000000000000000000-token";
      });
  key-in-the-store = fires [ "services.ray.tls.keyFile lies in the Nix store" ] (smallRay {
    tls = certificates // {
      keyFile = ./default.nix;
    };
  });
  certificates-may-lie-in-the-store = {
    expr = messages (smallRay {
      tls = certificates // {
        certificateFile = ./default.nix;
        caFile = ./default.nix;
      };
    });
    expected = [ ];
  };
  half-of-tls = fires [ "services.ray.tls.keyFile" ] (smallRay {
    tls = removeAttrs certificates [ "keyFile" ];
  });
  empty-worker-range =
    fires
      [
        "ends (10000) before it begins (10002)"
        "services.ray.ports.workers.to = 10199;"
      ]
      (smallRay {
        ports.workers.to = 10000;
      });
  subnets-without-nftables = fires [ "networking.nftables.enable = true;" ] (small [
    {
      networking.nftables.enable = lib.mkForce false;
      services.ray = {
        enable = true;
        interfaces = [ "eth0" ];
        allowedSubnets = [ "10.0.0.0/8" ];
      };
    }
  ]);
  subnets-without-interfaces = fires [ ''services.ray.interfaces = [ "cluster0" ];'' ] (smallRay {
    allowedSubnets = [ "10.0.0.0/8" ];
  });
  packages-for-an-environment-of-ones-own =
    fires [ "services.ray.extraPythonPackages cannot be added" ]
      (smallRay {
        package = removeAttrs pkgs.ray-env [ "override" ];
        extraPythonPackages = ps: [ ps.networkx ];
      });
  gpus-of-no-vendor = fires [ ''services.ray.gpu.vendor is "none"'' ] (smallRay {
    gpu.vendor = "none";
    resources.gpus = 1;
  });

  two-ports-of-ray =
    fires
      [
        "services.ray.ports.gcs (7000)"
        "services.ray.ports.dashboard (7000)"
        "Write services.ray.ports.dashboard = 7001;"
      ]
      (smallRay {
        ports.gcs = 7000;
        ports.dashboard = 7000;
      });
  a-free-port-is-free = fires [ "Write services.ray.ports.nodeManager = 6380;" ] (smallRay {
    ports.nodeManager = 6379;
  });
  a-port-among-the-workers =
    fires
      [
        "services.ray.ports.metrics (10100)"
        "services.ray.ports.workers (10002 to 10199)"
        "Move the other port out of the range; 10200 is free."
      ]
      (smallRay {
        ports.metrics = 10100;
      });
  a-port-of-the-head-is-free-on-a-worker = {
    expr = messages (smallRay (worker // { ports.nodeManager = 8265; }));
    expected = [ ];
  };
  redis =
    fires
      [
        "services.ray.ports.gcs (6379)"
        "services.redis.servers.cache.port (6379)"
        "Write services.ray.ports.gcs = 6382;"
      ]
      (small [
        {
          services.ray.enable = true;
          services.redis.servers.cache = {
            enable = true;
            port = 6379;
          };
        }
      ]);
  redis-on-a-socket = {
    expr = messages (small [
      {
        services.ray.enable = true;
        services.redis.servers.cache = {
          enable = true;
          port = 0;
        };
      }
    ]);
    expected = [ ];
  };
  redis-beside-a-client = {
    expr = messages (small [
      {
        services.ray = {
          enable = true;
          role = "client";
          headAddress = "10.0.0.1";
          auth.tokenFile = "/run/secrets/token";
        };
        services.redis.servers.cache = {
          enable = true;
          port = 6379;
        };
      }
    ]);
    expected = [ ];
  };
  prometheus = fires [ "services.prometheus.port (6380)" ] (small [
    {
      services.ray.enable = true;
      services.prometheus = {
        enable = true;
        port = 6380;
      };
    }
  ]);

  no-authentication-warns = {
    expr =
      lib.filter (lib.hasInfix "services.ray.auth.enable is false")
        (smallRay { auth.enable = false; }).warnings != [ ];
    expected = true;
  };
  nothing-to-warn-of = {
    expr = lib.filter (lib.hasInfix "services.ray") (smallRay { }).warnings;
    expected = [ ];
  };
}
