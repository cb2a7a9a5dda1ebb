# Where durable tasks are kept: said to every machine, and made on the head where it is a file. The
# actor that has the file lives there, and nothing else opens it.
{ config, lib, ... }:
let
  inherit (lib)
    genAttrs
    hasPrefix
    mkIf
    mkMerge
    replaceStrings
    ;
  rayLib = import ./lib.nix { inherit lib; };
  cfg = config.services.ray;
  inherit (cfg.cognition) tasks tasksPasswordFile;
  inUnits = genAttrs (rayLib.clusterUnits cfg);
  directory = dirOf tasks;
in
{
  config = mkIf cfg.enable (mkMerge [
    (mkIf (tasks != null) {
      environment.variables.COGNITIVE_TASKS = tasks;
      # systemd reads the %40 of a URL as something to put in.
      systemd.services = inUnits (_: {
        environment.COGNITIVE_TASKS = replaceStrings [ "%" ] [ "%%" ] tasks;
      });
    })
    (mkIf (tasks != null && hasPrefix "/" tasks && cfg.role == "head") {
      systemd.tmpfiles.settings.ray-tasks.${directory}.d = {
        mode = "0750";
        inherit (cfg) user group;
      };
      systemd.services.ray-head = {
        unitConfig.RequiresMountsFor = [ directory ];
        serviceConfig.ReadWritePaths = [ directory ];
      };
    })
    (mkIf (tasksPasswordFile != null) {
      environment.variables.COGNITIVE_TASKS_PASSWORD_FILE = tasksPasswordFile;
      systemd.services = inUnits (_: {
        environment.COGNITIVE_TASKS_PASSWORD_FILE = "%d/tasks-password";
        serviceConfig.LoadCredential = [ "tasks-password:${tasksPasswordFile}" ];
      });
    })
  ]);
}
