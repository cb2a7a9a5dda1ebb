# A device's RPC server of llama.cpp. It serves one client at a time and dies of one that breaks: it is
# up again within a second. Whoever reaches it may try what a C++ program makes of any bytes, so it can
# do less than a node: no files but its cache, no port but its own, no one but the cluster.
{
  config,
  lib,
  utils,
  ...
}:
let
  inherit (lib)
    listToAttrs
    mkIf
    nameValuePair
    optional
    optionalAttrs
    optionals
    ;
  rayLib = import ./lib.nix { inherit lib; };
  cfg = config.services.ray;
  sandbox = import ./sandbox.nix;
  # What no driver of a GPU would do with: it compiles, asks for its devices in /proc, and speaks with
  # its daemons.
  stricter = {
    MemoryDenyWriteExecute = true;
    ProcSubset = "pid";
    RestrictAddressFamilies = [
      "AF_INET"
      "AF_INET6"
    ];
    SystemCallFilter = sandbox.SystemCallFilter ++ [ "~@resources" ];
  };

  unitOf =
    {
      device,
      unit,
      settings,
      isGpu,
      ...
    }:
    {
      description = "llama.cpp's RPC server of ${device} for the Ray cluster ${cfg.clusterName}";
      wantedBy = [ "multi-user.target" ];
      wants = [ "network-online.target" ];
      after = [ "network-online.target" ];
      startLimitIntervalSec = 0;
      environment = optionalAttrs settings.cache { LLAMA_CACHE = "%C/${unit}"; };
      serviceConfig =
        sandbox
        // optionalAttrs (!isGpu) stricter
        // {
          Type = "exec";
          ExecStart = utils.escapeSystemdExecArgs (
            [
              "${cfg.llama.package}/bin/llama-rpc-server"
              "--device"
              device
              "--host"
              cfg.nodeAddress
              "--port"
              (toString settings.port)
            ]
            ++ optionals (settings.threads != null) [
              "--threads"
              (toString settings.threads)
            ]
            ++ optional settings.cache "--cache"
          );
          DynamicUser = true;
          IPAddressDeny = if cfg.allowedSubnets == [ ] then sandbox.IPAddressDeny else "any";
          IPAddressAllow = optionals (cfg.allowedSubnets != [ ]) (
            cfg.allowedSubnets
            ++ [
              "localhost"
              cfg.nodeAddress
            ]
          );
          SocketBindDeny = "any";
          SocketBindAllow = "tcp:${toString settings.port}";
          Restart = "always";
          RestartSec = 1;
          LimitCORE = 0;
        }
        // optionalAttrs settings.cache {
          CacheDirectory = unit;
          CacheDirectoryMode = "0700";
        };
    };
in
{
  config = mkIf (cfg.enable && cfg.role != "client") {
    systemd.services = listToAttrs (
      map (server: nameValuePair server.unit (unitOf server)) (rayLib.rpcServers cfg)
    );
  };
}
