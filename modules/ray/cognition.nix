# Where cognitive_actors keep their checkpoints: said to every machine, and let into the node's
# sandbox.
{ config, lib, ... }:
let
  inherit (lib)
    genAttrs
    mkIf
    mkMerge
    removePrefix
    ;
  rayLib = import ./lib.nix { inherit lib; };
  cfg = config.services.ray;
  inherit (cfg.cognition) checkpointDirectory redisPasswordFile;
  unit = "ray-${cfg.role}";
  inUnits = genAttrs (rayLib.clusterUnits cfg);
  isNode = cfg.role != "client";
  directory = removePrefix "file://" checkpointDirectory;
  place = {
    COGNITIVE_CHECKPOINTS = checkpointDirectory;
  };
in
{
  config = mkMerge [
    (mkIf (cfg.enable && checkpointDirectory != null) {
      environment.variables = place;
      systemd.services = inUnits (_: {
        environment = place;
      });
    })
    (mkIf (cfg.enable && checkpointDirectory != null && rayLib.isDirectory checkpointDirectory) {
      systemd.tmpfiles.settings.ray-checkpoints = mkIf isNode {
        ${directory}.d = {
          mode = "0770";
          inherit (cfg) user group;
        };
      };
      systemd.services = mkIf isNode {
        ${unit} = {
          unitConfig.RequiresMountsFor = [ directory ];
          serviceConfig.ReadWritePaths = [ directory ];
        };
      };
    })
    (mkIf (cfg.enable && redisPasswordFile != null) {
      environment.variables.COGNITIVE_REDIS_PASSWORD_FILE = redisPasswordFile;
      systemd.services = inUnits (_: {
        environment.COGNITIVE_REDIS_PASSWORD_FILE = "%d/checkpoints-password";
        serviceConfig.LoadCredential = [ "checkpoints-password:${redisPasswordFile}" ];
      });
    })
  ];
}
