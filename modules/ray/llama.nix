# A node that serves language models: what the cluster's scheduler is told of it, where its models and
# its llama-server are, and the unit that reports it. Its RPC servers have a file of their own.
{
  config,
  lib,
  utils,
  ...
}:
let
  inherit (lib)
    listToAttrs
    mkDefault
    mkIf
    mkMerge
    nameValuePair
    optional
    optionalAttrs
    optionalString
    ;
  rayLib = import ./lib.nix { inherit lib; };
  cfg = config.services.ray;
  inherit (cfg.llama) coordinators modelsDirectory redis;
  env = import ./environment.nix cfg;
  unit = "ray-${cfg.role}";
  servers = rayLib.rpcServers cfg;
  places = rayLib.modelPlaces cfg;

  # Where they are mounted, and that nothing of the node writes there.
  readsModels = {
    unitConfig.RequiresMountsFor = places;
    serviceConfig.ReadOnlyPaths = map (path: "-${path}") places;
  };
in
{
  config = mkIf (cfg.enable && rayLib.servesModels cfg) {
    # Whoever holds them holds them alone: a coordinator's place, and an RPC server, which serves one
    # client at a time.
    services.ray.resources = {
      custom =
        optionalAttrs (coordinators > 0) { llama_coordinator = coordinators; }
        // listToAttrs (map (server: nameValuePair "llama_rpc:${server.endpoint}" 1) servers);
      labels = {
        "ray-nixos/llama" = "true";
      }
      // listToAttrs (map (server: nameValuePair "ray-nixos/llama-${server.device}" "true") servers);
    };

    systemd.tmpfiles.settings.ray-models = mkIf (modelsDirectory != null) {
      ${modelsDirectory}.d = {
        # One that is there is left as it is.
        mode = ":0750";
        user = ":root";
        group = ":${cfg.group}";
      };
    };

    systemd.services.${unit} = mkMerge [
      readsModels
      {
        environment = {
          LLAMA_SERVER = "${cfg.llama.package}/bin/llama-server";
          LLAMA_BASE_PORT = toString cfg.llama.basePort;
        };
      }
    ];

    systemd.services.ray-llama-register = mkMerge [
      readsModels
      {
        description = "What the Ray cluster ${cfg.clusterName} knows of this node's language models";
        after = [ "${unit}.service" ] ++ map (server: "${server.unit}.service") servers;
        # As ray-bootstrap does: a node that starts anew takes this unit along.
        partOf = [ "${unit}.service" ];
        wantedBy = [
          "multi-user.target"
          "${unit}.service"
        ];
        # A node that is not there yet is waited for without end.
        startLimitIntervalSec = 0;
        environment = {
          RAY_AUTH_MODE = mkDefault "disabled";
          RAY_USAGE_STATS_ENABLED = "0";
          RAYNIXOS_NAMESPACE = cfg.namespace;
          HOME = "%t/ray-llama-register";
        };
        serviceConfig = import ./sandbox.nix // {
          Type = "notify";
          ExecStart =
            utils.escapeSystemdExecArgs (
              [ "${env}/bin/cognitive" ] ++ rayLib.registerArguments cfg config.networking.hostName
            )
            # Escaped, it would not be a directory.
            + optionalString (redis.passwordFile != null) " --redis-password-file=%d/llama-redis-password";
          LoadCredential = optional (redis.passwordFile != null) "llama-redis-password:${redis.passwordFile}";
          User = cfg.user;
          Group = cfg.group;
          RuntimeDirectory = "ray-llama-register";
          # As a driver: it looks for its raylet among the processes, and its log is beside the node's.
          ProtectProc = "default";
          ReadWritePaths = [ "-${rayLib.temporaryDirectory}" ];
          TimeoutStartSec = 120;
          TimeoutStopSec = 30;
          Restart = "always";
          RestartSec = 5;
        };
      }
    ];
  };
}
