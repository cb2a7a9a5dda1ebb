# What replicas of the services are told: they run on any node, and have the environment of its unit.
{ config, lib, ... }:
let
  inherit (lib)
    filterAttrs
    mapAttrs
    mkIf
    optional
    optionalAttrs
    ;
  cfg = config.services.ray;
  inherit (cfg.serve) limits tokenFile;

  given = filterAttrs (_: value: value != null) {
    COGNITIVE_TIMEOUT_S = limits.timeout;
    COGNITIVE_MAX_INFLIGHT = limits.inFlight;
    COGNITIVE_MAX_BODY = limits.body;
  };
in
{
  config = mkIf (cfg.enable && cfg.role != "client") {
    systemd.services."ray-${cfg.role}" = {
      environment =
        mapAttrs (_: toString) given
        // optionalAttrs (tokenFile != null) { COGNITIVE_TOKEN_FILE = "%d/services-token"; };
      serviceConfig.LoadCredential = optional (tokenFile != null) "services-token:${tokenFile}";
    };
  };
}
