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
      # The client server forks while its threads speak gRPC. With gRPC's own fork handlers on, the
      # process made for a new client was dead now and then on a busy machine, and the client refused.
      GRPC_ENABLE_FORK_SUPPORT = "0";
    };
  };
}
