# What is left of the cluster when its head dies: with storage, the head finds nodes, actors and jobs
# again; without, its workers start anew and join an empty cluster. Redis has a file of its own.
{ config, lib, ... }:
let
  inherit (lib) genAttrs mkIf mkMerge;
  rayLib = import ./lib.nix { inherit lib; };
  cfg = config.services.ray;
  patience = {
    RAY_gcs_rpc_server_reconnect_timeout_s = toString cfg.faultTolerance.workerReconnectTimeout;
  };
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
    # Drivers wait as workers do, those of people and those that run in a node's unit.
    (mkIf (cfg.faultTolerance.storage != "none") {
      environment.variables = patience;
      systemd.services = genAttrs (rayLib.clusterUnits cfg) (_: {
        environment = patience;
      });
    })
    (mkIf (cfg.faultTolerance.storage == "none" && cfg.role == "worker") {
      # Such a head has forgotten its workers. They find that out at this interval, end, and join it
      # anew; Ray's own interval is a minute.
      systemd.services.ray-worker.environment.RAY_raylet_liveness_self_check_interval_ms = "5000";
    })
  ]);
}
