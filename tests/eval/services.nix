# The services of cognitive_actors: all by one line, each to be changed, and what their replicas are
# told on every node.
{
  lib,
  ray,
  smallRay,
  messages,
  rayLib,
  ...
}:
let
  inherit (import ./fires.nix { inherit lib messages; }) fires;
  joined = {
    role = "worker";
    headAddress = "10.0.0.1";
    nodeAddress = "10.0.0.2";
    auth.tokenFile = "/run/secrets/token";
  };
  names = lib.remove "chat" everything;
  everything = lib.attrNames (import ../../modules/ray/bundled-services.nix);
  served = serve: servedBy { inherit serve; };
  servedBy =
    settings:
    lib.listToAttrs (
      map (application: lib.nameValuePair application.name application)
        (builtins.fromJSON (ray settings).environment.etc."ray/serve.json".text).applications
    );
  all = served { bundled.enable = true; };
  told =
    settings: unit:
    lib.filterAttrs (
      name: _: lib.hasPrefix "COGNITIVE_" name && name != "COGNITIVE_TASKS"
    ) (ray settings).systemd.services.${unit}.environment;
in
{
  one-line-serves-all = {
    expr = {
      served = lib.attrNames all;
      inherit (all) state;
      port = lib.any (port: port.from == 8000) (
        rayLib.portTable (smallRay { serve.bundled.enable = true; }).services.ray
      );
    };
    expected = {
      served = names;
      state = {
        name = "state";
        import_path = "cognitive_actors.serve.state:build";
        route_prefix = "/state";
        args = { };
        deployments = [
          {
            name = "State";
            autoscaling_config = {
              min_replicas = 1;
              max_replicas = 4;
              target_ongoing_requests = 16;
            };
            ray_actor_options.num_cpus = 0.1;
          }
        ];
      };
      port = true;
    };
  };
  # `cognitive serve` has a list of its own.
  they-are-those-of-the-package = {
    expr =
      let
        text = builtins.readFile ../../python/src/cognitive_actors/serve/config.py;
        listed = lib.head (lib.splitString ")" (lib.last (lib.splitString "\nSERVICES = (" text)));
      in
      lib.sort lib.lessThan (
        lib.filter (name: name != "") (
          map (lib.trim) (lib.splitString "," (lib.replaceStrings [ "\"" ] [ "" ] listed))
        )
      );
    expected = names;
  };
  the-model-is-for-those-that-think = {
    expr = lib.mapAttrs (_: application: application.args.model or null) (served {
      bundled = {
        enable = true;
        model = "/srv/umbrella.yaml";
      };
    });
    expected = lib.genAttrs names (name: if name == "state" then null else "/srv/umbrella.yaml");
  };
  each-can-be-changed-by-its-name = {
    expr =
      let
        changed = served {
          bundled = {
            enable = true;
            model = "/srv/umbrella.yaml";
          };
          applications = {
            cognitive = {
              args.precision = 2.0;
              deployments = [
                {
                  name = "Cognitive";
                  num_replicas = 2;
                }
              ];
            };
            energy.args.model = "/srv/other.yaml";
            mine.import_path = "mine:build";
          };
        };
      in
      {
        inherit (changed.cognitive) args deployments import_path;
        energy = changed.energy.args.model;
        mine = changed.mine.import_path;
        ml = changed.ml == all.ml // { args.model = "/srv/umbrella.yaml"; };
      };
    expected = {
      args = {
        model = "/srv/umbrella.yaml";
        precision = 2.0;
      };
      deployments = [
        {
          name = "Cognitive";
          num_replicas = 2;
        }
      ];
      import_path = "cognitive_actors.serve.cognitive:build";
      energy = "/srv/other.yaml";
      mine = "mine:build";
      ml = true;
    };
  };
  language-models-are-served-where-there-are-any = {
    expr = {
      there = lib.attrNames (servedBy {
        llama.enable = true;
        serve.bundled.enable = true;
      });
      chosen = lib.attrNames (servedBy {
        llama.enable = true;
        serve.bundled = {
          enable = true;
          services = [ "state" ];
        };
      });
      elsewhere =
        (served {
          bundled = {
            enable = true;
            services = [ "chat" ];
          };
        }).chat.route_prefix;
    };
    expected = {
      there = everything;
      chosen = [ "state" ];
      elsewhere = "/v1";
    };
  };
  some-can-be-left-out = {
    expr = lib.attrNames (served {
      bundled = {
        enable = true;
        services = [ "cognitive" ];
      };
    });
    expected = [ "cognitive" ];
  };
  a-worker-has-the-file-of-the-model = {
    expr =
      map
        (
          model:
          lib.length
            (smallRay (joined // { serve.bundled = { inherit model; }; })).system.extraDependencies or [ ]
        )
        [
          ./default.nix
          "/srv/umbrella.yaml"
        ];
    expected = [
      1
      0
    ];
  };
  replicas-are-told-on-every-node = {
    expr =
      let
        serve = {
          limits = {
            timeout = 2.5;
            inFlight = 16;
            body = 4096;
          };
          tokenFile = "/run/secrets/services";
        };
        with' = settings: unit: {
          environment = told (settings // { inherit serve; }) unit;
          credential =
            lib.elem "services-token:/run/secrets/services"
              (ray (settings // { inherit serve; })).systemd.services.${unit}.serviceConfig.LoadCredential;
        };
      in
      {
        head = with' { } "ray-head";
        worker = with' joined "ray-worker";
        default = told { } "ray-head";
      };
    expected =
      let
        all = {
          environment = {
            COGNITIVE_TIMEOUT_S = "2.500000";
            COGNITIVE_MAX_INFLIGHT = "16";
            COGNITIVE_MAX_BODY = "4096";
            COGNITIVE_TOKEN_FILE = "%d/services-token";
          };
          credential = true;
        };
      in
      {
        head = all;
        worker = all;
        default = { };
      };
  };
  the-token-of-the-services-in-the-store =
    fires [ "services.ray.serve.tokenFile lies in the Nix store" ]
      (smallRay {
        serve.tokenFile = ./default.nix;
      });
  a-worker-serves-nothing = fires [ "Move services.ray.serve.bundled.enable to the head" ] (
    smallRay (joined // { serve.bundled.enable = true; })
  );
}
