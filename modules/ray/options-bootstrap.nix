# Options only: what the head sees to on a cluster that has begun.
{ config, lib, ... }:
let
  inherit (lib) mkEnableOption mkOption types;
  inherit (import ./option-types.nix { inherit lib; }) modelFile;
in
{
  options.services.ray.bootstrap = {
    enable = mkEnableOption ''
      the unit `ray-bootstrap` of the head, which runs `cognitive bootstrap`: the agents of the
      services and the dispatchers of durable tasks are there as soon as the cluster is, and again
      when the head has begun anew. What is there already stays as it is. The unit fails with the
      reason when they cannot be brought up'';
    mode = mkOption {
      type = types.enum [
        "all"
        "organism"
        "dispatchers"
      ];
      default = "all";
      description = ''
        What is brought up: the agents that `/cognitive` and `/organism` ask, the dispatchers of the
        tasks in {option}`services.ray.cognition.tasks`, or both.
      '';
    };
    dispatchers = mkOption {
      type = types.ints.positive;
      default = 2;
      description = "How many dispatchers work on the tasks.";
    };
    model =
      modelFile ''
        Generative model of the agents; null: the umbrella example. It must be that of the services.
      ''
      // {
        default = config.services.ray.serve.bundled.model;
        defaultText = lib.literalExpression "config.services.ray.serve.bundled.model";
      };
    timeout = mkOption {
      type = types.ints.positive;
      default = 60;
      description = ''
        Seconds for each thing that an attempt waits for: the head, the agents, the dispatchers, the
        task that they are tried with. One that fails is followed by another 15 s later, and the
        unit has failed after ten.
      '';
    };
    extraArguments = mkOption {
      type = types.listOf types.str;
      default = [ ];
      description = ''
        Further arguments of `cognitive bootstrap`. Everyone on the machine can read them: no secrets.
      '';
    };
  };
}
