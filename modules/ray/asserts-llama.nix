# What cannot work of services.ray.llama.
{ config, lib, ... }:
let
  inherit (lib)
    attrNames
    concatStringsSep
    filter
    filterAttrs
    mapAttrsToList
    mkIf
    mkMerge
    optional
    optionals
    toLower
    unique
    ;
  rayLib = import ./lib.nix { inherit lib; };
  inherit (rayLib) must oneLine;
  cfg = config.services.ray;
  inherit (cfg.llama)
    coordinators
    models
    redis
    rpcServers
    ;
  devices = attrNames rpcServers;
  isReachable = !rayLib.isLoopback (toString cfg.nodeAddress);

  isModelName = name: builtins.match "[A-Za-z0-9._:-]+" name != null;
  # What units cannot see, or another path for each program.
  isNoPlace =
    path:
    !lib.hasPrefix builtins.storeDir path
    && builtins.match "/|/(home|root|tmp|var/tmp|run/user)(/.*)?|.*[[:space:]%].*" path != null;

  badDevice =
    name:
    must false ''
      "${name}" in services.ray.llama.rpcServers is no device. Write the name that
      `llama-server --list-devices` has for it: services.ray.llama.rpcServers.CUDA0 = { };
    '';
  badModelName =
    name:
    must false ''
      "${name}" in services.ray.llama.models cannot be the name of a model. Write it with letters,
      digits, dots, dashes, underscores and colons: services.ray.llama.models.llama-70b
    '';
  badPlace =
    option: path:
    must false ''
      services.ray.llama.${option} is "${path}", which the node's units cannot see. Write a path such
      as "/var/lib/ray-models", without spaces.
    '';
in
{
  config = mkMerge [
    {
      assertions = optional cfg.llama.enable (
        must cfg.enable ''
          services.ray.llama is a node of a Ray cluster. Write services.ray.enable = true;
        ''
      );
    }
    (mkIf (cfg.enable && cfg.llama.enable) {
      assertions = [
        (must (cfg.role != "client") ''
          a client runs no language models. Move services.ray.llama to the head or to a worker.
        '')
        (must (coordinators > 0 || rpcServers != { }) ''
          services.ray.llama offers nothing. Write services.ray.llama.rpcServers.CPU = { }; or
          services.ray.llama.coordinators = 1;
        '')
        (must (cfg.llama.basePort + coordinators <= 65536) ''
          services.ray.llama.coordinators (${toString coordinators}) from
          services.ray.llama.basePort (${toString cfg.llama.basePort}) on are more ports than there
          are. Write services.ray.llama.basePort = 18080;
        '')
        (must (lib.length (unique (map toLower devices)) == lib.length devices) ''
          services.ray.llama.rpcServers names one device twice (${concatStringsSep ", " devices}).
          Write it once, as llama.cpp does.
        '')
        (must (redis.url == null || !rayLib.hasPassword redis.url) ''
          services.ray.llama.redis.url has a password in it, and everyone on the machine can read it.
          Leave it out of the URL, put it into a file, and write
          services.ray.llama.redis.passwordFile = "/run/secrets/llama-redis-password";
        '')
        (must (redis.passwordFile == null || redis.url != null) ''
          services.ray.llama.redis.passwordFile is for a Redis, and services.ray.llama.redis.url names
          none. Write services.ray.llama.redis.url = "redis://10.42.0.1:6391"; or leave it out.
        '')
      ]
      ++ map badDevice (filter (name: builtins.match "[A-Za-z][A-Za-z0-9]*" name == null) devices)
      ++ map badModelName (filter (name: !isModelName name) (attrNames models))
      ++ mapAttrsToList (name: badPlace "models.${name}") (filterAttrs (_: isNoPlace) models)
      ++ map (badPlace "modelsDirectory") (
        filter isNoPlace (optional (cfg.llama.modelsDirectory != null) cfg.llama.modelsDirectory)
      )
      ++ optionals (rpcServers != { } && cfg.role != "client") [
        (must (builtins.match "[0-9.]+|.*:.*" (toString cfg.nodeAddress) != null) ''
          an RPC server of llama.cpp listens on an address, and services.ray.nodeAddress is the name
          ${toString cfg.nodeAddress}. Write services.ray.nodeAddress = "10.42.0.2";
        '')
        (must (!isReachable || config.networking.firewall.enable || cfg.allowedSubnets != [ ]) ''
          nothing keeps strangers from services.ray.llama.rpcServers, which ask nobody for a password.
          Write networking.firewall.enable = true;
        '')
      ];

      warnings = map oneLine (
        optional (isReachable && rpcServers != { } && cfg.interfaces == [ ] && cfg.role != "client") ''
          services.ray.llama.rpcServers are at ${toString cfg.nodeAddress}, but services.ray.interfaces
          is empty: the firewall lets no coordinator of another node in.
        ''
      );
    })
  ];
}
