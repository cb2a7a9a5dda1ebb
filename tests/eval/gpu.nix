# GPUs: their devices and libraries reach the unit, and the driver comes when a vendor is named.
{
  self,
  lib,
  ray,
  head,
  nixos,
  ...
}:
let
  gpuWorker = self.nixosConfigurations.gpu-worker.config;
  unit = gpuWorker.systemd.services.ray-worker;
  amd = ray { gpu.vendor = "amd"; };
in
{
  nvidia = {
    expr = {
      inherit (unit.environment) LD_LIBRARY_PATH;
      inherit (unit.serviceConfig) PrivateDevices;
      control = lib.elem "char-nvidiactl" unit.serviceConfig.DeviceAllow;
      drivers = gpuWorker.services.xserver.videoDrivers;
      x = gpuWorker.services.xserver.enable;
      persistence = gpuWorker.hardware.nvidia.nvidiaPersistenced;
    };
    expected = {
      LD_LIBRARY_PATH = "/run/opengl-driver/lib";
      PrivateDevices = false;
      control = true;
      drivers = [ "nvidia" ];
      x = false;
      persistence = true;
    };
  };
  amd = {
    expr = {
      inherit (amd.systemd.services.ray-head.serviceConfig) DeviceAllow SupplementaryGroups;
      opencl = amd.hardware.amdgpu.opencl.enable;
    };
    expected = {
      DeviceAllow = [
        "char-drm"
        "char-kfd"
      ];
      SupplementaryGroups = [
        "render"
        "video"
      ];
      opencl = true;
    };
  };
  auto-finds-what-the-machine-has = {
    expr =
      (nixos [
        {
          nixpkgs.config.allowUnfreePredicate = package: lib.hasPrefix "nvidia" (lib.getName package);
          services.xserver.videoDrivers = [ "nvidia" ];
          hardware.nvidia.open = true;
          services.ray.enable = true;
        }
      ]).systemd.services.ray-head.serviceConfig.PrivateDevices;
    expected = false;
  };
  auto-without-a-gpu-stays-shut = {
    expr = head.systemd.services.ray-head.serviceConfig.PrivateDevices;
    expected = true;
  };
}
