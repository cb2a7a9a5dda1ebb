# What the example machines have in common: a disk, and two networks. People come in by lan0;
# cluster0 connects the machines.
{ lib, ... }:
{
  fileSystems."/" = {
    device = "/dev/disk/by-label/nixos";
    fsType = "ext4";
  };
  boot.loader.grub.device = lib.mkDefault "/dev/disk/by-id/system";

  networking = {
    useNetworkd = true;
    useDHCP = false;
    nftables.enable = true;
  };
  systemd.network.wait-online.anyInterface = true;

  nixpkgs.hostPlatform = lib.mkDefault "x86_64-linux";
  system.stateVersion = "26.05";
}
