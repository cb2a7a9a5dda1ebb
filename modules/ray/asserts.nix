# What cannot work, said before anything is built. Every message says what to write instead.
{ config, lib, ... }:
let
  inherit (lib)
    concatMapStringsSep
    concatMap
    filter
    filterAttrs
    hasPrefix
    mapAttrsToList
    mkIf
    optional
    optionalAttrs
    ;
  rayLib = import ./lib.nix { inherit lib; };
  cfg = config.services.ray;
  isNode = cfg.role != "client";

  files = {
    "auth.tokenFile" = cfg.auth.tokenFile;
  }
  // optionalAttrs cfg.tls.enable {
    "tls.certificateFile" = cfg.tls.certificateFile;
    "tls.keyFile" = cfg.tls.keyFile;
    "tls.caFile" = cfg.tls.caFile;
  };
  secrets = filterAttrs (name: path: path != null && name != "tls.caFile" && name != "tls.certificateFile") files;

  # Other services of this machine whose ports can be seen here.
  otherServices =
    mapAttrsToList (name: server: {
      option = "services.redis.servers.${name}.port";
      from = server.port;
      to = server.port;
    }) (filterAttrs (_: server: server.enable && server.port != 0) config.services.redis.servers)
    ++ optional config.services.prometheus.enable {
      option = "services.prometheus.port";
      from = config.services.prometheus.port;
      to = config.services.prometheus.port;
    }
    ++ optional config.services.grafana.enable {
      option = "services.grafana.settings.server.http_port";
      from = config.services.grafana.settings.server.http_port;
      to = config.services.grafana.settings.server.http_port;
    };

  ours = rayLib.portTable cfg;
  table = ours ++ otherServices;
  isOurs = port: hasPrefix "services.ray." port.option;
  ourClashes = filter (clash: isOurs clash.a || isOurs clash.b) (rayLib.clashes table);

  clashAssertion =
    { a, b }:
    let
      shown = port: if port.from == port.to then toString port.from else "${toString port.from} to ${toString port.to}";
      moved = if isOurs b then b else a;
      free = toString (rayLib.freePort table moved.from);
    in
    {
      assertion = false;
      message =
        "services.ray: ${a.option} (${shown a}) and ${b.option} (${shown b}) use the same port on ${config.networking.hostName}. "
        + (
          if moved.from == moved.to then
            "Write ${moved.option} = ${free};"
          else
            "Move the other port out of the range; ${free} is free."
        );
    };
in
{
  config = mkIf cfg.enable {
    assertions = [
      {
        assertion = cfg.role == "head" || cfg.headAddress != null;
        message = ''services.ray: the role "${cfg.role}" needs the address of the head. Write services.ray.headAddress = "10.42.0.1";'';
      }
      {
        assertion = cfg.role != "worker" || cfg.nodeAddress != null;
        message = ''services.ray: a worker needs the address that the other nodes reach it by. Write services.ray.nodeAddress = "10.42.0.2";'';
      }
      {
        assertion = cfg.role != "worker" || cfg.nodeAddress == null || !rayLib.isLoopback cfg.nodeAddress;
        message = "services.ray: a worker cannot be reached at ${toString cfg.nodeAddress}. Write the address of its network interface into services.ray.nodeAddress.";
      }
      {
        assertion = cfg.role == "head" || !cfg.auth.enable || cfg.auth.tokenFile != null;
        message = ''
          services.ray: a ${cfg.role} must be given the token of its cluster. Copy /var/lib/ray/token of the head to this machine by a way that keeps it
          secret, and write services.ray.auth.tokenFile = "/run/secrets/ray-token";'';
      }
      {
        assertion = !cfg.tls.enable || (cfg.tls.certificateFile != null && cfg.tls.keyFile != null && cfg.tls.caFile != null);
        message = "services.ray: TLS needs three files. Write services.ray.tls.certificateFile, services.ray.tls.keyFile and services.ray.tls.caFile.";
      }
      {
        assertion = cfg.ports.workers.from <= cfg.ports.workers.to;
        message =
          "services.ray: the range of services.ray.ports.workers ends (${toString cfg.ports.workers.to}) before it begins "
          + "(${toString cfg.ports.workers.from}). Write services.ray.ports.workers.to = ${toString (cfg.ports.workers.from + 197)};";
      }
      {
        assertion = cfg.allowedSubnets == [ ] || config.networking.nftables.enable;
        message = "services.ray: services.ray.allowedSubnets needs nftables. Write networking.nftables.enable = true;";
      }
      {
        assertion = cfg.allowedSubnets == [ ] || cfg.interfaces != [ ];
        message = ''services.ray: services.ray.allowedSubnets narrows services.ray.interfaces, which is empty. Write services.ray.interfaces = [ "cluster0" ];'';
      }
      {
        assertion = cfg.gpu.vendor != "none" || cfg.resources.gpus == null || cfg.resources.gpus == 0;
        message = ''services.ray: services.ray.resources.gpus is ${toString cfg.resources.gpus}, but services.ray.gpu.vendor is "none". Write "auto", "nvidia" or "amd".'';
      }
    ]
    ++ mapAttrsToList (name: path: {
      assertion = !hasPrefix builtins.storeDir path;
      message = ''
        services.ray: services.ray.${name} lies in the Nix store, where everyone can read it. Write the path as a string, to a file that is
        put there at run time: services.ray.${name} = "/run/secrets/…"; (see sops-nix or agenix).'';
    }) secrets
    ++ lib.optionals isNode (map clashAssertion ourClashes);

    warnings =
      optional (!cfg.auth.enable) ''
        services.ray.auth.enable is false: everyone who reaches a port of this Ray node runs code on it as ${cfg.user}.''
      ++ optional (cfg.role == "head" && !rayLib.isLoopback (toString cfg.nodeAddress) && cfg.interfaces == [ ]) ''
        services.ray.nodeAddress is ${cfg.nodeAddress}, but services.ray.interfaces is empty: the firewall lets no worker in.''
      ++ optional (cfg.role == "head" && !rayLib.isLoopback cfg.dashboard.address && !cfg.auth.enable) ''
        services.ray.dashboard.address is ${cfg.dashboard.address} and there is no token: everyone who reaches it can submit jobs.''
      ++ optional (cfg.role == "head" && cfg.headAddress != null && cfg.headAddress != cfg.nodeAddress) ''
        services.ray.headAddress has no effect on a head; its own address is services.ray.nodeAddress.''
      ++ optional (!config.networking.firewall.enable && isNode && !rayLib.isLoopback (toString cfg.nodeAddress)) ''
        networking.firewall.enable is false: all ports of this Ray node are open to everyone, metrics and worker processes included.'';
  };
}
