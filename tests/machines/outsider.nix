# Somebody on the network that people come in by, who has nothing to do with the cluster.
{
  imports = [ ../../hosts/machine.nix ];
  networking.hostName = "outsider";
  systemd.network.networks."20-lan0" = {
    matchConfig.Name = "lan0";
    address = [ "192.168.42.200/24" ];
  };
}
