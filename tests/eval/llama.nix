# Language models: what a node offers, what its RPC servers may do, and who reaches them.
{
  self,
  lib,
  ray,
  smallRay,
  worker,
  small,
  rayLib,
  ...
}:
let
  inherit (import ./llama-nodes.nix) serving two;
  config = ray two;
  inherit (config.systemd) services;
  cpu = services.ray-llama-rpc-cpu;
  cuda = services.ray-llama-rpc-cuda0;
  register = services.ray-llama-register;

  # The arguments of a unit without the names of packages.
  bare =
    text:
    builtins.unsafeDiscardStringContext (
      lib.concatStrings (
        lib.filter builtins.isString (builtins.split "${builtins.storeDir}/[0-9a-z]{32}-[^/ \"]+" text)
      )
    );

  gpuWorker =
    (self.nixosConfigurations.gpu-worker.extendModules {
      modules = [
        {
          services.ray.llama = {
            enable = true;
            rpcServers.CUDA0 = { };
          };
        }
      ];
    }).config;
in
{
  an-rpc-server-for-each-device = {
    expr = {
      cpu = bare cpu.serviceConfig.ExecStart;
      cuda = bare cuda.serviceConfig.ExecStart;
      inherit (cpu.serviceConfig) Restart RestartSec CacheDirectory;
      limit = cpu.startLimitIntervalSec;
      cache = cpu.environment.LLAMA_CACHE;
      cached = cuda.serviceConfig ? CacheDirectory || cuda.environment ? LLAMA_CACHE;
    };
    expected = {
      cpu = ''"/bin/llama-rpc-server" "--device" "CPU" "--host" "10.0.0.2" "--port" "50052" "--threads" "4" "--cache"'';
      cuda = ''"/bin/llama-rpc-server" "--device" "CUDA0" "--host" "10.0.0.2" "--port" "50053"'';
      Restart = "always";
      RestartSec = 1;
      CacheDirectory = "ray-llama-rpc-cpu";
      limit = 0;
      cache = "%C/ray-llama-rpc-cpu";
      cached = false;
    };
  };
  an-rpc-server-may-do-little = {
    expr = {
      inherit (cpu.serviceConfig)
        CapabilityBoundingSet
        DynamicUser
        IPAddressAllow
        IPAddressDeny
        MemoryDenyWriteExecute
        NoNewPrivileges
        PrivateDevices
        ProcSubset
        ProtectSystem
        RestrictAddressFamilies
        SocketBindAllow
        SocketBindDeny
        ;
      filter = lib.last cpu.serviceConfig.SystemCallFilter;
      credentials = cpu.serviceConfig ? LoadCredential;
      # What drivers of GPUs need.
      cuda = {
        memory = cuda.serviceConfig ? MemoryDenyWriteExecute;
        processes = cuda.serviceConfig ? ProcSubset;
        inherit (cuda.serviceConfig) IPAddressDeny ProtectSystem;
      };
    };
    expected = {
      CapabilityBoundingSet = "";
      DynamicUser = true;
      IPAddressAllow = [
        "10.0.0.0/24"
        "localhost"
        "10.0.0.2"
      ];
      IPAddressDeny = "any";
      MemoryDenyWriteExecute = true;
      NoNewPrivileges = true;
      PrivateDevices = true;
      ProcSubset = "pid";
      ProtectSystem = "strict";
      RestrictAddressFamilies = [
        "AF_INET"
        "AF_INET6"
      ];
      SocketBindAllow = "tcp:50052";
      SocketBindDeny = "any";
      filter = "~@resources";
      credentials = false;
      cuda = {
        memory = false;
        processes = false;
        IPAddressDeny = "any";
        ProtectSystem = "strict";
      };
    };
  };
  without-subnets-the-firewall-decides = {
    expr =
      let
        open = smallRay (
          serving { rpcServers.CPU = { }; }
          // {
            allowedSubnets = [ ];
            gpu.vendor = "none";
          }
        );
        inherit (open.systemd.services.ray-llama-rpc-cpu) serviceConfig;
      in
      {
        inherit (serviceConfig) IPAddressAllow;
        any = serviceConfig.IPAddressDeny == "any";
      };
    expected = {
      IPAddressAllow = [ ];
      any = false;
    };
  };
  the-firewall-lets-the-cluster-in-alone = {
    expr = {
      rules = config.networking.firewall.extraInputRules;
      all = config.networking.firewall.allowedTCPPorts;
      iptables =
        let
          inherit
            (small [
              {
                networking.nftables.enable = false;
                services.ray = {
                  enable = true;
                }
                // two
                // {
                  allowedSubnets = [ ];
                };
              }
            ])
            networking
            ;
        in
        {
          here = lib.intersectLists [
            50052
            50053
            18080
            18081
          ] networking.firewall.interfaces.eth7.allowedTCPPorts;
          all = networking.firewall.allowedTCPPorts or [ ];
        };
      closed = lib.filter (port: !port.open && lib.hasInfix "llama" port.option) (
        rayLib.portTable config.services.ray
      );
    };
    expected = {
      rules = ''
        iifname { "eth7" } ip saddr { 10.0.0.0/24 } tcp dport { 6380, 6381, 52366, 10002-10199, 50052, 50053 } accept comment "services.ray"
      '';
      all = [ ];
      iptables = {
        here = [
          50052
          50053
        ];
        all = [ ];
      };
      closed = [
        {
          option = "services.ray.llama.basePort";
          from = 18080;
          to = 18081;
          open = false;
        }
      ];
    };
  };
  the-cluster-counts-what-a-node-offers = {
    expr = {
      resources = lib.filter (lib.hasPrefix "--resources") (rayLib.startArguments config.services.ray);
      labels = lib.filter (lib.hasPrefix "--labels") (rayLib.startArguments config.services.ray);
      merged =
        (smallRay (
          serving {
            coordinators = 0;
            rpcServers.CPU = { };
          }
          // {
            resources.custom.sensor = 2;
          }
        )).services.ray.resources.custom;
    };
    expected = {
      resources = [
        ''--resources={"llama_coordinator":2,"llama_rpc:10.0.0.2:50052":1,"llama_rpc:10.0.0.2:50053":1}''
      ];
      labels = [
        "--labels=ray-nixos/cluster=ray,ray-nixos/llama=true,ray-nixos/llama-CPU=true,ray-nixos/llama-CUDA0=true"
      ];
      merged = {
        "llama_rpc:10.0.0.2:50052" = 1;
        sensor = 2;
      };
    };
  };
  a-head-alone-is-on-loopback = {
    expr =
      let
        alone = smallRay {
          llama = {
            enable = true;
            rpcServers.CPU = { };
          };
        };
      in
      {
        resources = alone.services.ray.resources.custom;
        rules = alone.networking.firewall.extraInputRules or "";
        inherit (alone) warnings;
      };
    expected = {
      resources = {
        llama_coordinator = 1;
        "llama_rpc:127.0.0.2:50052" = 1;
      };
      rules = "";
      warnings = [ ];
    };
  };
  a-node-reports-itself = {
    expr = {
      runs = lib.replaceStrings [ "=${./llama.nix}" ] [ "=stored" ] (
        lib.last (lib.splitString "bin/cognitive\" " register.serviceConfig.ExecStart)
      );
      inherit (register) after partOf wantedBy;
      inherit (register.serviceConfig)
        LoadCredential
        ReadOnlyPaths
        Restart
        Type
        User
        ;
      mounts = register.unitConfig.RequiresMountsFor;
      mode = register.environment.RAY_AUTH_MODE;
    };
    expected = {
      runs = ''"register" "--cluster=10.0.0.1:6379" "--name=machine" "--address=10.0.0.2" "--llama-server=${config.services.ray.llama.package}/bin/llama-server" "--rpc=CPU=10.0.0.2:50052" "--rpc=CUDA0=10.0.0.2:50053" "--models=/var/lib/ray-models" "--model=small=/srv/models/small.gguf" "--model=stored=stored" "--redis=redis://10.0.0.9:6391" --redis-password-file=%d/llama-redis-password'';
      after = [
        "ray-worker.service"
        "ray-llama-rpc-cpu.service"
        "ray-llama-rpc-cuda0.service"
      ];
      partOf = [ "ray-worker.service" ];
      wantedBy = [
        "multi-user.target"
        "ray-worker.service"
      ];
      LoadCredential = [
        "token:/run/secrets/token"
        "llama-redis-password:/run/secrets/redis"
      ];
      ReadOnlyPaths = [
        "-/var/lib/ray-models"
        "-/srv/models/small.gguf"
      ];
      Restart = "always";
      Type = "notify";
      User = "ray";
      mounts = [
        "/var/lib/ray-models"
        "/srv/models/small.gguf"
      ];
      mode = "token";
    };
  };
  a-node-finds-its-programs-and-models = {
    expr = {
      server =
        services.ray-worker.environment.LLAMA_SERVER
        == "${config.services.ray.llama.package}/bin/llama-server";
      port = services.ray-worker.environment.LLAMA_BASE_PORT;
      models = services.ray-worker.serviceConfig.ReadOnlyPaths;
      directory = {
        inherit (config.systemd.tmpfiles.settings.ray-models."/var/lib/ray-models".d) mode user group;
      };
    };
    expected = {
      server = true;
      port = "18080";
      models = [
        "-/var/lib/ray-models"
        "-/srv/models/small.gguf"
      ];
      directory = {
        mode = ":0750";
        user = ":root";
        group = ":ray";
      };
    };
  };
  without-it-nothing-is-there = {
    expr =
      let
        off = worker;
      in
      {
        units = lib.filter (lib.hasInfix "llama") (lib.attrNames off.systemd.services);
        ports = lib.filter (port: lib.hasInfix "llama" port.option) (rayLib.portTable off.services.ray);
        environment = lib.filterAttrs (
          name: _: lib.hasInfix "LLAMA" name
        ) off.systemd.services.ray-worker.environment;
        resources = off.services.ray.resources.custom;
        places = off.systemd.tmpfiles.settings ? ray-models;
      };
    expected = {
      units = [ ];
      ports = [ ];
      environment = { };
      resources = { };
      places = false;
    };
  };
  a-gpu-reaches-those-that-use-it = {
    expr =
      let
        of = name: gpuWorker.systemd.services.${name};
      in
      {
        server = {
          inherit ((of "ray-llama-rpc-cuda0").environment) LD_LIBRARY_PATH;
          control = lib.elem "char-nvidiactl" (of "ray-llama-rpc-cuda0").serviceConfig.DeviceAllow;
          inherit ((of "ray-llama-rpc-cuda0").serviceConfig) PrivateDevices;
        };
        register = lib.elem "char-nvidiactl" (of "ray-llama-register").serviceConfig.DeviceAllow;
        cpu = cpu.serviceConfig.PrivateDevices && !(cpu.serviceConfig ? DeviceAllow);
        package = gpuWorker.services.ray.llama.package != config.services.ray.llama.package;
      };
    expected = {
      server = {
        LD_LIBRARY_PATH = "/run/opengl-driver/lib";
        control = true;
        PrivateDevices = false;
      };
      register = true;
      cpu = true;
      package = true;
    };
  };
}
