# No port of Ray is open to everyone, on any machine; where it is open, it is for the cluster.
{
  self,
  lib,
  ray,
  head,
  nixos,
  rayLib,
  ...
}:
let
  openToAll =
    config:
    let
      inherit (config.networking) firewall;
      numbers = firewall.allowedTCPPorts ++ firewall.allowedUDPPorts;
      ranges = firewall.allowedTCPPortRanges ++ firewall.allowedUDPPortRanges;
      opened =
        map (port: {
          from = port;
          to = port;
        }) numbers
        ++ ranges;
      ours = rayLib.portTable config.services.ray;
    in
    lib.filter (port: lib.any (o: o.from <= port.to && port.from <= o.to) opened) ours;

  settings = {
    nodeAddress = "10.0.0.1";
    interfaces = [ "eth7" ];
  };
  withIptables =
    extra:
    nixos [
      {
        networking.nftables.enable = lib.mkForce false;
        services.ray = {
          enable = true;
        }
        // settings
        // extra;
      }
    ];
in
{
  hosts-open-nothing-to-all = {
    expr = lib.mapAttrs (_: host: openToAll host.config) (
      lib.filterAttrs (_: host: host.config.services.ray.role != "client") self.nixosConfigurations
    );
    expected = {
      head = [ ];
      worker = [ ];
      gpu-worker = [ ];
    };
  };
  hosts-keep-the-firewall = {
    expr = lib.mapAttrs (_: host: host.config.networking.firewall.enable) self.nixosConfigurations;
    expected = {
      head = true;
      worker = true;
      gpu-worker = true;
      client = true;
    };
  };
  enabling-opens-nothing = {
    expr = {
      inherit (head.networking.firewall) extraInputRules;
      all = openToAll head;
    };
    expected = {
      extraInputRules = "";
      all = [ ];
    };
  };
  iptables-by-interface = {
    expr = (withIptables { }).networking.firewall.interfaces.eth7;
    expected = {
      allowedTCPPorts = [
        6379
        6380
        6381
        10001
        52366
      ];
      allowedTCPPortRanges = [
        {
          from = 10002;
          to = 10199;
        }
      ];
      allowedUDPPorts = [ ];
      allowedUDPPortRanges = [ ];
    };
  };
  nftables-by-interface = {
    expr = (ray settings).networking.firewall.extraInputRules;
    expected = ''
      iifname { "eth7" } tcp dport { 6379, 10001, 6380, 6381, 52366, 10002-10199 } accept comment "services.ray"
    '';
  };
  nftables-by-subnet = {
    expr =
      (ray (
        settings
        // {
          role = "worker";
          headAddress = "10.0.0.9";
          auth.tokenFile = "/run/secrets/token";
          allowedSubnets = [
            "10.0.0.0/8"
            "fd00::/8"
          ];
        }
      )).networking.firewall.extraInputRules;
    expected = ''
      iifname { "eth7" } ip saddr { 10.0.0.0/8 } tcp dport { 6380, 6381, 52366, 10002-10199 } accept comment "services.ray"
      iifname { "eth7" } ip6 saddr { fd00::/8 } tcp dport { 6380, 6381, 52366, 10002-10199 } accept comment "services.ray"
    '';
  };
  dashboard-and-metrics-when-asked = {
    expr =
      (withIptables {
        dashboard.address = "10.0.0.1";
        metrics.openFirewall = true;
        client.openFirewall = false;
      }).networking.firewall.interfaces.eth7.allowedTCPPorts;
    expected = [
      6379
      6380
      6381
      8265
      52366
      52368
    ];
  };
}
