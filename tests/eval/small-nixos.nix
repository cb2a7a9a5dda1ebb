# As much of NixOS as the module touches, for tests that need many machines and little of each: a
# whole one takes a second and a third of a gigabyte. That the module fits the real options is for
# the other tests to say.
{ lib, pkgs, ... }:
let
  inherit (lib) mkOption types;
  room =
    defaults:
    mkOption {
      default = { };
      type = types.submodule {
        freeformType = types.lazyAttrsOf types.anything;
        config = lib.mapAttrsRecursive (_: lib.mkOptionDefault) defaults;
      };
    };
  list = mkOption {
    type = types.listOf types.raw;
    default = [ ];
  };
in
{
  options = {
    assertions = list;
    warnings = list;
    boot = room { };
    environment = room { };
    hardware = room { };
    networking = room {
      hostName = "machine";
      firewall.enable = true;
      nftables.enable = true;
    };
    services = {
      redis.servers = mkOption {
        type = types.attrsOf types.anything;
        default = { };
      };
      prometheus = room { enable = false; };
      grafana = room { enable = false; };
      xserver = room { videoDrivers = [ ]; };
    };
    system = room { extraDependencies = [ ]; };
    systemd.services = mkOption {
      type = types.attrsOf types.raw;
      default = { };
    };
    systemd.timers = room { };
    systemd.tmpfiles = room { };
    users = room { };
  };
  config._module.args = {
    inherit pkgs;
    utils.escapeSystemdExecArgs = toString;
  };
}
