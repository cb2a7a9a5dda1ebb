# Serve applications: what the head is told of them, and what cannot be.
{
  lib,
  ray,
  smallRay,
  messages,
  ...
}:
let
  inherit (import ./fires.nix { inherit lib messages; }) fires;
  serve.applications.cognitive = {
    import_path = "cognitive_actors.serve.cognitive:build";
    deployments = [
      {
        name = "Cognitive";
        num_replicas = 2;
      }
    ];
  };
  head = ray {
    inherit serve;
    interfaces = [ "cluster0" ];
    nodeAddress = "10.0.0.1";
  };
  file = config: builtins.fromJSON config.environment.etc."ray/serve.json".text;
  rules = config: config.networking.firewall.extraInputRules;
in
{
  the-file-is-serve's-own-format = {
    expr = file head;
    expected = {
      applications = [
        {
          args = { };
          inherit (serve.applications.cognitive) deployments import_path;
          name = "cognitive";
          route_prefix = "/cognitive";
        }
      ];
      http_options = {
        host = "127.0.0.1";
        port = 8000;
      };
      proxy_location = "HeadOnly";
    };
  };
  settings-are-merged = {
    expr = lib.getAttrs [ "proxy_location" "http_options" ] (
      file (ray {
        serve = serve // {
          address = "10.0.0.1";
          settings = {
            proxy_location = "EveryNode";
            http_options.request_timeout_s = 5;
          };
        };
        ports.serve = 8001;
      })
    );
    expected = {
      proxy_location = "EveryNode";
      http_options = {
        host = "10.0.0.1";
        port = 8001;
        request_timeout_s = 5;
      };
    };
  };
  a-change-is-a-reload = {
    expr =
      let
        trigger = config: config.systemd.services.ray-serve.reloadTriggers;
        start = config: config.systemd.services.ray-serve.serviceConfig.ExecStart;
        other = ray {
          serve.applications.cognitive = serve.applications.cognitive // {
            args.precision = 2.0;
          };
          interfaces = [ "cluster0" ];
          nodeAddress = "10.0.0.1";
        };
      in
      {
        triggers = trigger head != trigger other;
        start = start head == start other;
      };
    expected = {
      triggers = true;
      start = true;
    };
  };
  the-token-is-a-credential = {
    expr = {
      inherit (head.systemd.services.ray-serve.serviceConfig) LoadCredential;
      path = head.systemd.services.ray-serve.environment.RAY_AUTH_TOKEN_PATH;
    };
    expected = {
      LoadCredential = [ "token:/var/lib/ray/token" ];
      path = "%d/token";
    };
  };
  the-port-is-shut-until-it-is-opened = {
    expr = map (lib.hasInfix "8000") [
      (rules head)
      (rules (ray {
        serve = serve // {
          openFirewall = true;
        };
        interfaces = [ "cluster0" ];
        nodeAddress = "10.0.0.1";
      }))
    ];
    expected = [
      false
      true
    ];
  };
  nothing-to-serve-is-no-unit = {
    expr = (ray { }).systemd.services ? ray-serve;
    expected = false;
  };
  a-worker-deploys-nothing = fires [ "Move services.ray.serve.applications to the head" ] (smallRay {
    inherit serve;
    role = "worker";
    headAddress = "10.0.0.1";
    nodeAddress = "10.0.0.2";
    auth.tokenFile = "/run/secrets/token";
  });
  applications-need-the-dashboard = fires [ "services.ray.dashboard.enable = true;" ] (smallRay {
    inherit serve;
    dashboard.enable = false;
  });
}
