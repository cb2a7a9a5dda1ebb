# The cluster's ports, on its interfaces only; with nftables, from its subnets only.
{ config, lib, ... }:
let
  inherit (lib)
    concatStringsSep
    genAttrs
    mkIf
    optionalString
    ;
  rayLib = import ./lib.nix { inherit lib; };
  cfg = config.services.ray;
  open = rayLib.openPorts cfg;
  isSingle = port: port.from == port.to;

  set = elements: "{ ${concatStringsSep ", " elements} }";
  quoted = map (name: ''"${name}"'') cfg.interfaces;
  ports = map (
    port: if isSingle port then toString port.from else "${toString port.from}-${toString port.to}"
  ) open;
  isV6 = lib.hasInfix ":";
  from =
    family: subnets:
    optionalString (subnets != [ ] || cfg.allowedSubnets == [ ]) ''
      iifname ${set quoted} ${
        optionalString (subnets != [ ]) "${family} saddr ${set subnets} "
      }tcp dport ${set ports} accept comment "services.ray"
    '';
in
{
  config = mkIf (cfg.enable && cfg.role != "client" && cfg.interfaces != [ ]) {
    networking.firewall =
      if config.networking.nftables.enable then
        {
          extraInputRules =
            if cfg.allowedSubnets == [ ] then
              from "" [ ]
            else
              from "ip" (lib.filter (subnet: !isV6 subnet) cfg.allowedSubnets)
              + from "ip6" (lib.filter isV6 cfg.allowedSubnets);
        }
      else
        {
          interfaces = genAttrs cfg.interfaces (_: {
            allowedTCPPorts = map (port: port.from) (lib.filter isSingle open);
            allowedTCPPortRanges = map (port: { inherit (port) from to; }) (
              lib.filter (port: !isSingle port) open
            );
          });
        };
  };
}
