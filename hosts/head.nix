# The head. It makes the cluster's token on its first start, in /var/lib/ray/token: hand it to the
# other machines.
{
  imports = [ ./machine.nix ];
  networking.hostName = "head";

  systemd.network.networks = {
    "10-cluster0" = {
      matchConfig.Name = "cluster0";
      address = [ "10.42.0.1/24" ];
      # A cable that is out for a moment: Ray talks to itself by this address too.
      networkConfig.IgnoreCarrierLoss = true;
    };
    "20-lan0" = {
      matchConfig.Name = "lan0";
      address = [ "192.168.42.1/24" ];
    };
  };

  services.ray = {
    enable = true;
    role = "head";
    nodeAddress = "10.42.0.1";
    interfaces = [ "cluster0" ];
    allowedSubnets = [ "10.42.0.0/24" ];
    # The cluster's network may submit jobs; with it on loopback, only who is logged in here.
    dashboard.address = "10.42.0.1";
    resources.objectStore = 512 * 1024 * 1024;
  };
}
