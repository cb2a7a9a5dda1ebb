# What `services.ray.enable = true` alone makes of a machine.
{
  imports = [ ../../hosts/machine.nix ];
  networking.hostName = "alone";
  systemd.network.networks."20-lan0" = {
    matchConfig.Name = "lan0";
    address = [ "192.168.42.50/24" ];
  };
  services.ray.enable = true;

  specialisation.checkpoints.configuration.services.ray.cognition.checkpointDirectory =
    "/srv/checkpoints";
}
