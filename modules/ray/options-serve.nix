# Options only: what Ray Serve serves.
{ lib, pkgs, ... }:
let
  inherit (lib) mkOption types;
  json = pkgs.formats.json { };

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
