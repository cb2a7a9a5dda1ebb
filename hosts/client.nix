# A machine where people work: `ray` and `cognitive` are on PATH and talk to the cluster. Who is in
# the group may.
{
  imports = [ ./machine.nix ];
  networking.hostName = "client";

  systemd.network.networks = {
    "10-cluster0" = {
      matchConfig.Name = "cluster0";
      address = [ "10.42.0.100/24" ];
    };
    "20-lan0" = {
      matchConfig.Name = "lan0";
      address = [ "192.168.42.100/24" ];
    };
  };

  services.ray = {
    enable = true;
    role = "client";
    headAddress = "10.42.0.1";
    auth.tokenFile = "/var/lib/secrets/ray-token";
  };

  users.users.alice = {
    isNormalUser = true;
    extraGroups = [ "ray" ];
  };
}
