# Drivers, device files and libraries of GPUs.
{
  config,
  lib,
  pkgs,
  ...
}:
let
  inherit (lib)
    genAttrs
    mkDefault
    mkIf
    mkMerge
    ;
  rayLib = import ./lib.nix { inherit lib; };
  cfg = config.services.ray;
  isNode = cfg.enable && cfg.role != "client";
  inUnits = genAttrs (rayLib.gpuUnits cfg);
  llamaFor =
    gpuSupport:
    mkDefault (
      (pkgs.ray-llama or (pkgs.callPackage ../../pkgs/ray-llama.nix { })).override { inherit gpuSupport; }
    );
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
      systemd.services = inUnits (_: {
        # Without it Ray does not find the vendor's library, and offers no GPU without a word.
        environment.LD_LIBRARY_PATH = "/run/opengl-driver/lib";
        serviceConfig.PrivateDevices = lib.mkForce false;
      });
    })
    (mkIf (isNode && nvidia) {
      services.ray.llama.package = llamaFor { cudaSupport = true; };
      systemd.services = inUnits (_: {
        after = [ "nvidia-persistenced.service" ];
        serviceConfig.DeviceAllow = [
          "char-nvidia"
          "char-nvidiactl"
          "char-nvidia-caps"
          "char-nvidia-frontend"
          "char-nvidia-uvm"
        ];
      });
    })
    (mkIf (isNode && amd) {
      services.ray.llama.package = llamaFor { rocmSupport = true; };
      systemd.services = inUnits (_: {
        serviceConfig = {
          DeviceAllow = [
            "char-drm"
            "char-kfd"
          ];
          SupplementaryGroups = [
            "render"
            "video"
          ];
        };
      });
    })
  ];
}
