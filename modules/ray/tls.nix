# Mutual TLS of everything that speaks gRPC. Certificates are read at the start of the node: a new
# one needs a restart.
{ config, lib, ... }:
let
  rayLib = import ./lib.nix { inherit lib; };
  cfg = config.services.ray;
in
{
  config = lib.mkIf (cfg.enable && cfg.tls.enable && cfg.role != "client") {
    systemd.services = lib.genAttrs (rayLib.clusterUnits cfg) (_: {
      environment = {
        RAY_USE_TLS = "1";
        RAY_TLS_SERVER_CERT = "%d/certificate";
        RAY_TLS_SERVER_KEY = "%d/key";
        RAY_TLS_CA_CERT = "%d/ca";
      };
      serviceConfig.LoadCredential = [
        "certificate:${toString cfg.tls.certificateFile}"
        "key:${toString cfg.tls.keyFile}"
        "ca:${toString cfg.tls.caFile}"
      ];
    });
  };
}
