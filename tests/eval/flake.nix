# What the flake offers.
{
  self,
  lib,
  pkgs,
  ...
}:
let
  inherit (pkgs.stdenv.hostPlatform) system;
in
{
  every-host-has-a-toplevel = {
    expr = lib.mapAttrs (
      _: host: builtins.isString host.config.system.build.toplevel.drvPath
    ) self.nixosConfigurations;
    expected = {
      head = true;
      worker = true;
      gpu-worker = true;
      client = true;
    };
  };
  the-options-are-documented = {
    expr = lib.all (option: option ? description && option.description != "") (
      lib.attrValues self.packages.${system}.docs.documentation.optionsNix
    );
    expected = true;
  };
  the-documentation-has-every-port = {
    expr = lib.sort lib.lessThan (
      map (lib.removePrefix "services.ray.ports.") (
        lib.filter (lib.hasPrefix "services.ray.ports.") (
          lib.attrNames self.packages.${system}.docs.documentation.optionsNix
        )
      )
    );
    expected = [
      "autoscalerMetrics"
      "client"
      "dashboard"
      "dashboardAgent"
      "dashboardAgentGrpc"
      "dashboardMetrics"
      "gcs"
      "metrics"
      "nodeManager"
      "objectManager"
      "runtimeEnvAgent"
      "serve"
      "workers.from"
      "workers.to"
    ];
  };
  the-overlay-overrides-ray = {
    expr = (pkgs.extend self.overlays.default).python3.pkgs.ray.version;
    expected = "2.60.0";
  };
}
