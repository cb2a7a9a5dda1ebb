# A connection that is cut and not closed is found out by both ends. Ray's servers ask after 10 s, its
# clients after 5 min: a driver waited that long for an actor behind a cable that had been out for 30 s.
{ config, lib, ... }:
let
  inherit (lib) genAttrs mkIf;
  rayLib = import ./lib.nix { inherit lib; };
  cfg = config.services.ray;
  keepalive = {
    RAY_grpc_client_keepalive_time_ms = "15000";
    RAY_grpc_client_keepalive_timeout_ms = "30000";
  };
in
{
  config = mkIf cfg.enable {
    environment.variables = keepalive;
    systemd.services = genAttrs (rayLib.clusterUnits cfg) (_: {
      environment = keepalive;
    });
  };
}
