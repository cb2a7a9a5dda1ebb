# A worker with two NVIDIA GPUs. With fewer of them in sight it does not start, and says so.
{ lib, ... }:
{
  imports = [ ./worker.nix ];
  networking.hostName = "gpu-worker";

  systemd.network.networks = {
    "10-cluster0".address = [ "10.42.0.20/24" ];
    "20-lan0".address = [ "192.168.42.20/24" ];
  };

  # The driver is unfree, and which flavour of it is right depends on the card (open: from Turing
  # on).
  nixpkgs.config.allowUnfreePredicate = package: lib.hasPrefix "nvidia" (lib.getName package);
  hardware.nvidia.open = true;

  services.ray = {
    nodeAddress = "10.42.0.20";
    gpu.vendor = "nvidia";
    resources.gpus = 2;
  };
}
