# Drivers, device files and libraries of GPUs.
{ config, lib, ... }:
let
  inherit (lib) mkDefault mkIf mkMerge;
  cfg = config.services.ray;
  isNode = cfg.enable && cfg.role != "client";
  unit = "ray-${cfg.role}";
  nvidiaIsOn =
    (config.hardware.nvidia.enabled or false) || lib.elem "nvidia" config.services.xserver.videoDrivers;
  nvidia = cfg.gpu.vendor == "nvidia" || (cfg.gpu.vendor == "auto" && nvidiaIsOn);
  amd =
    cfg.gpu.vendor == "amd"
    || (cfg.gpu.vendor == "auto" && (config.hardware.amdgpu.opencl.enable or false));
in
{
  config = mkMerge [
    (mkIf (isNode && cfg.gpu.vendor == "nvidia") {
      # This is how NixOS is told to load the driver; it starts no X server.
      services.xserver.videoDrivers = [ "nvidia" ];
      hardware.nvidia.nvidiaPersistenced = mkDefault true;
    })
    (mkIf (isNode && cfg.gpu.vendor == "amd") {
      hardware.amdgpu.opencl.enable = mkDefault true;
    })
    (mkIf (isNode && (nvidia || amd)) {
      hardware.graphics.enable = mkDefault true;
      systemd.services.${unit} = {
        # Without it Ray does not find the vendor's library, and offers no GPU without a word.
        environment.LD_LIBRARY_PATH = "/run/opengl-driver/lib";
        serviceConfig.PrivateDevices = lib.mkForce false;
      };
    })
    (mkIf (isNode && nvidia) {
      systemd.services.${unit} = {
        after = [ "nvidia-persistenced.service" ];
        serviceConfig.DeviceAllow = [
          "char-nvidia"
          "char-nvidiactl"
          "char-nvidia-caps"
          "char-nvidia-frontend"
          "char-nvidia-uvm"
        ];
      };
    })
    (mkIf (isNode && amd) {
      systemd.services.${unit}.serviceConfig = {
        DeviceAllow = [
          "char-drm"
          "char-kfd"
        ];
        SupplementaryGroups = [
          "render"
          "video"
        ];
      };
    })
  ];
}
