# The services of cognitive_actors as applications of Serve, each of which can be changed by its name.
{ config, lib, ... }:
let
  inherit (lib)
    attrNames
    genAttrs
    hasPrefix
    mkDefault
    mkIf
    optionalAttrs
    toSentenceCase
    ;
  cfg = config.services.ray;
  inherit (cfg.serve.bundled) enable model services;
  bundled = import ./bundled-services.nix;

  application =
    name:
    let
      service = bundled.${name};
    in
    {
      import_path = mkDefault "cognitive_actors.serve.${name}:build";
      # What they work on is in actors. A replica that takes a whole CPU would leave none for these.
      deployments = mkDefault [
        {
          name = toSentenceCase name;
          autoscaling_config = {
            min_replicas = 1;
            max_replicas = 4;
            target_ongoing_requests = service.requests or 16;
          };
          ray_actor_options.num_cpus = 0.1;
        }
      ];
    }
    // optionalAttrs (service ? route) { route_prefix = mkDefault service.route; }
    // optionalAttrs (service.thinks or false && model != null) { args.model = mkDefault model; };
in
{
  config = mkIf cfg.enable {
    services.ray.serve.applications = mkIf (enable && cfg.role == "head") (
      genAttrs services application
    );
    services.ray.serve.bundled.services = mkIf cfg.llama.enable (mkDefault (attrNames bundled));
    # A worker is told of the file by the head, and nothing else of it would name it.
    system.extraDependencies = mkIf (
      cfg.role == "worker" && model != null && hasPrefix builtins.storeDir model
    ) [ model ];
  };
}
