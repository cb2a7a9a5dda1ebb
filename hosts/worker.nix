# A worker. Every further one is this file with another name and address.
{ lib, ... }:
{
  imports = [ ./machine.nix ];
  networking.hostName = lib.mkDefault "worker";

  systemd.network.networks = {
    "10-cluster0" = {
      matchConfig.Name = "cluster0";
      address = lib.mkDefault [ "10.42.0.2/24" ];
      # A cable that is out for a moment: Ray talks to itself by this address too.
      networkConfig.IgnoreCarrierLoss = true;
    };
    "20-lan0" = {
      matchConfig.Name = "lan0";
      address = lib.mkDefault [ "192.168.42.2/24" ];
    };
  };

  services.ray = {
    enable = true;
    role = "worker";
    headAddress = "10.42.0.1";
    nodeAddress = lib.mkDefault "10.42.0.2";
    interfaces = [ "cluster0" ];
    allowedSubnets = [ "10.42.0.0/24" ];
    auth.tokenFile = "/var/lib/secrets/ray-token";
    resources.objectStore = 512 * 1024 * 1024;
  };
}
