# A second worker: as hosts/worker.nix says, another name and another address.
{ pkgs, ... }:
{
  imports = [ ../../hosts/worker.nix ];
  networking.hostName = "worker2";
  systemd.network.networks = {
    "10-cluster0".address = [ "10.42.0.3/24" ];
    "20-lan0".address = [ "192.168.42.3/24" ];
  };
  services.ray.nodeAddress = "10.42.0.3";
  # A scenario runs one here, for a head that has none of its own.
  environment.systemPackages = [ pkgs.redis ];
}
