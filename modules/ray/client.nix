# `ray` and `cognitive` on PATH of every machine of the cluster, wired to its head. On a client this
# is all there is.
{ config, lib, ... }:
let
  inherit (lib) mkIf optionalAttrs;
  rayLib = import ./lib.nix { inherit lib; };
  cfg = config.services.ray;
  env = import ./environment.nix cfg;
  head = if cfg.role == "head" then cfg.nodeAddress else cfg.headAddress;
  # Ray Client: it asks for no node on this machine, and not for the node's own user.
  dashboardHost =
    if cfg.role == "head" && rayLib.isLoopback cfg.dashboard.address then
      cfg.dashboard.address
    else
      head;
in
{
  config = mkIf cfg.enable {
    environment.systemPackages = [ env ];
    users.groups = mkIf (cfg.group == "ray") { ray = { }; };

    environment.variables = {
      RAY_ADDRESS = "ray://${rayLib.endpoint head cfg.ports.client}";
      RAY_API_SERVER_ADDRESS = "http://${rayLib.endpoint dashboardHost cfg.ports.dashboard}";
      RAY_USAGE_STATS_ENABLED = "0";
      RAYNIXOS_NAMESPACE = cfg.namespace;
      RAY_AUTH_MODE = if cfg.auth.enable then "token" else "disabled";
    }
    // optionalAttrs cfg.auth.enable { RAY_AUTH_TOKEN_PATH = rayLib.tokenFile cfg; }
    // optionalAttrs cfg.tls.enable {
      RAY_USE_TLS = "1";
      RAY_TLS_SERVER_CERT = cfg.tls.certificateFile;
      RAY_TLS_SERVER_KEY = cfg.tls.keyFile;
      RAY_TLS_CA_CERT = cfg.tls.caFile;
    };
  };
}
