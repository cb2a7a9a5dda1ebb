# What only the head has.
{ config, lib, ... }:
let
  cfg = config.services.ray;
in
{
  config = lib.mkIf (cfg.enable && cfg.role == "head") {
    systemd.services.ray-head.environment = {
      # These two have no flag.
      AUTOSCALER_METRIC_PORT = toString cfg.ports.autoscalerMetrics;
      DASHBOARD_METRIC_PORT = toString cfg.ports.dashboardMetrics;
    };
  };
}
