# A machine of hosts/ as a virtual one: its two networks are virtual as well.
{ pkgs, ... }:
{
  # What scenarios call.
  environment.systemPackages = [
    pkgs.curl
    pkgs.openssl
  ];

  virtualisation = {
    cores = 2;
    memorySize = 3072;
    diskSize = 4096;
    interfaces = {
      cluster0 = {
        vlan = 1;
        assignIP = false;
      };
      lan0 = {
        vlan = 2;
        assignIP = false;
      };
    };
  };
}
