# What is left of the cluster when its head dies: with storage, the head finds nodes, actors and jobs
# again; without, its workers start anew and join an empty cluster.
{ config, lib, ... }:
let
  inherit (lib) mkIf mkMerge;
  rayLib = import ./lib.nix { inherit lib; };
  cfg = config.services.ray;
  stored = cfg.faultTolerance.storage != "none";
in
{
  config = mkIf cfg.enable (mkMerge [
    (mkIf (cfg.role == "head" && cfg.faultTolerance.storage == "embedded") {
      systemd.services.ray-head = {
        # Ray spells these two in lower case.
        environment = {
          RAY_gcs_storage = "rocksdb";
          RAY_gcs_storage_path = "${rayLib.stateDirectory}/gcs";
        };
      };
    })
    (mkIf (cfg.role == "worker") {
      systemd.services.ray-worker.environment =
        if stored then
          { RAY_gcs_rpc_server_reconnect_timeout_s = toString cfg.faultTolerance.workerReconnectTimeout; }
        else
          # Such a head has forgotten its workers. They find that out at this interval, end, and join it
          # anew; Ray's own interval is a minute.
          { RAY_raylet_liveness_self_check_interval_ms = "5000"; };
    })
  ]);
}
