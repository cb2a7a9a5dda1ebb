# Options only: what Ray Serve serves.
{ lib, pkgs, ... }:
let
  inherit (lib) mkEnableOption mkOption types;
  inherit (import ./option-types.nix { inherit lib; }) modelFile secretFile;
  json = pkgs.formats.json { };
  bundled = import ./bundled-services.nix;

  limit =
    type: example: description:
    mkOption {
      type = types.nullOr type;
      default = null;
      inherit example description;
    };

  application =
    { name, ... }:
    {
      freeformType = json.type;
      options = {
        import_path = mkOption {
          type = types.nonEmptyStr;
          example = "cognitive_actors.serve.cognitive:build";
          description = "Where Python finds the application, or the function that makes it from `args`.";
        };
        route_prefix = mkOption {
          type = types.nullOr (types.strMatching "/.*");
          default = "/${name}";
          defaultText = lib.literalMD "`/` and the application's name";
          description = "Path below which it is reached. null: not over HTTP.";
        };
        args = mkOption {
          type = types.attrsOf json.type;
          default = { };
          description = "What the function that makes the application is given.";
        };
      };
    };
in
{
  options.services.ray.serve = {
    applications = mkOption {
      type = types.attrsOf (types.submodule application);
      default = { };
      example = {
        cognitive.import_path = "cognitive_actors.serve.cognitive:build";
      };
      description = ''
        Applications that the head keeps deployed on the cluster, by name, as `applications` of
        [serveConfigV2](https://docs.ray.io/en/latest/serve/production-guide/config.html) has them:
        besides the options here `runtime_env`, `deployments` and more. They are the unit `ray-serve`,
        which fails when one of them does not come up; a change replaces what is changed without
        dropping requests. Python packages that they need come from
        {option}`services.ray.extraPythonPackages`.
      '';
    };
    bundled = {
      enable = mkEnableOption ''
        the services of `cognitive_actors`. Each becomes one of
        {option}`services.ray.serve.applications`, where its settings can be changed by its name'';
      services = mkOption {
        type = types.listOf (types.enum (lib.attrNames bundled));
        default = lib.attrNames (lib.filterAttrs (_: service: !(service.optional or false)) bundled);
        defaultText = lib.literalMD "all of them, `chat` where {option}`services.ray.llama.enable`";
        description = ''
          Which of them. `chat` is language models by OpenAI's interface, at `/v1`, and can be served
          by a head that has none itself.
        '';
      };
      model = modelFile ''
        Generative model of those services that think, a YAML or NPZ file; null: the umbrella
        example. Replicas run on every node: give workers the same value, so that they have the file
        too.
      '';
    };
    limits = {
      timeout = limit types.numbers.positive 8 ''
        Seconds after which a service of `cognitive_actors` gives a request up
        (`COGNITIVE_TIMEOUT_S`); null: its own default, as with all limits. Replicas run on every
        node: give all nodes the same limits. A change takes effect when a node is restarted.
      '';
      inFlight = limit types.ints.positive 64 ''
        Requests that a replica works on at a time; it refuses more with 429
        (`COGNITIVE_MAX_INFLIGHT`).
      '';
      body = limit types.ints.positive 1048576 ''
        Bytes that the body of a request may have (`COGNITIVE_MAX_BODY`).
      '';
    };
    tokenFile = secretFile "/run/secrets/services-token" ''
      File with the token that the services of `cognitive_actors` ask for, outside the Nix store, the
      same on all nodes (`COGNITIVE_TOKEN_FILE`). null: that of the cluster, where it has one. With
      one of their own, who uses the services cannot run code on the cluster.
    '';
    settings = mkOption {
      type = types.submodule { freeformType = json.type; };
      default = { };
      example = {
        logging_config.encoding = "JSON";
      };
      description = "The rest of serveConfigV2.";
    };
    address = mkOption {
      type = types.nonEmptyStr;
      default = "127.0.0.1";
      example = "10.42.0.1";
      description = ''
        Address that applications are reached at. Serve speaks HTTP without encryption, and asks for
        no token itself: leave it on loopback behind a reverse proxy, or give it an address of a
        network that you trust. A change takes effect when the head is restarted.
      '';
    };
    openFirewall = mkOption {
      type = types.bool;
      default = false;
      description = "Whether applications are reachable on {option}`services.ray.interfaces`.";
    };
  };
}
