# What only a worker has.
{ config, lib, ... }:
let
  cfg = config.services.ray;
in
{
  config = lib.mkIf (cfg.enable && cfg.role == "worker") {
    # A head that was restarted has forgotten its workers. They find that out at this interval, end,
    # and join it anew; Ray's own is a minute.
    systemd.services.ray-worker.environment.RAY_raylet_liveness_self_check_interval_ms = "5000";
  };
}
