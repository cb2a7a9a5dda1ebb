# The unit that bootstraps the cluster: what it runs, with what it is told, and what cannot be.
{
  lib,
  ray,
  smallRay,
  messages,
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
  unitWith = settings: (ray settings).systemd.services.ray-bootstrap;
  bootstraps = {
    bootstrap.enable = true;
  };
  unit = unitWith bootstraps;
  argumentsOf =
    settings:
    lib.last (lib.splitString ''bin/cognitive" '' (unitWith settings).serviceConfig.ExecStart);
  tls = {
    enable = true;
    certificateFile = "/run/secrets/node.pem";
    keyFile = "/run/secrets/node.key";
    caFile = "/run/secrets/ca.pem";
  };
in
{
  what-it-runs = {
    expr = {
      byDefault = argumentsOf bootstraps;
      all = argumentsOf {
        nodeAddress = "10.0.0.1";
        serve.bundled.model = "/srv/umbrella.yaml";
        bootstrap = {
          enable = true;
          dispatchers = 4;
          timeout = 30;
          extraArguments = [ "--quiet" ];
        };
      };
      organism = argumentsOf {
        bootstrap = {
          enable = true;
          mode = "organism";
          model = "/srv/other.yaml";
        };
      };
      dispatchers = argumentsOf {
        serve.bundled.model = "/srv/umbrella.yaml";
        bootstrap = {
          enable = true;
          mode = "dispatchers";
        };
      };
    };
    expected = {
      byDefault = ''"bootstrap" "--address=127.0.0.2:6379" "--mode=all" "--dispatchers=2" "--timeout=60" "--json"'';
      all = ''"bootstrap" "--address=10.0.0.1:6379" "--mode=all" "--dispatchers=4" "--model=/srv/umbrella.yaml" "--timeout=30" "--json" "--quiet"'';
      organism = ''"bootstrap" "--address=127.0.0.2:6379" "--mode=organism" "--model=/srv/other.yaml" "--timeout=60" "--json"'';
      dispatchers = ''"bootstrap" "--address=127.0.0.2:6379" "--mode=dispatchers" "--dispatchers=2" "--timeout=60" "--json"'';
    };
  };
  when-it-runs = {
    expr = {
      inherit (unit)
        after
        partOf
        wantedBy
        wants
        startLimitBurst
        ;
      inherit (unit.serviceConfig)
        RemainAfterExit
        Restart
        RestartPreventExitStatus
        Type
        ;
      # As many attempts as end with one wait are within the time that they are counted in.
      counted = unit.startLimitBurst * (60 + unit.serviceConfig.RestartSec) < unit.startLimitIntervalSec;
    };
    expected = {
      after = [
        "ray-head.service"
        "ray-serve.service"
      ];
      partOf = [ "ray-head.service" ];
      wantedBy = [
        "multi-user.target"
        "ray-head.service"
      ];
      wants = [ ];
      startLimitBurst = 10;
      RemainAfterExit = true;
      Restart = "on-failure";
      RestartPreventExitStatus = 2;
      Type = "oneshot";
      counted = true;
    };
  };
  it-speaks-with-the-cluster-as-the-node-does = {
    expr =
      let
        config = ray (
          bootstraps
          // {
            inherit tls;
            namespace = "lab";
            cognition.checkpointDirectory = "/srv/shared/checkpoints";
          }
        );
        environmentOf =
          unit:
          lib.filterAttrs (
            name: _: lib.hasPrefix "RAY" name || lib.hasPrefix "COGNITIVE_" name
          ) config.systemd.services.${unit}.environment;
        inherit (config.systemd.services) ray-bootstrap ray-head;
      in
      {
        # What it is told is what the head is told, and nothing is different.
        other = lib.filterAttrs (name: value: (environmentOf "ray-head").${name} or null != value) (
          environmentOf "ray-bootstrap"
        );
        tasks = ray-bootstrap.environment.COGNITIVE_TASKS;
        credentials = ray-bootstrap.serviceConfig.LoadCredential == ray-head.serviceConfig.LoadCredential;
      };
    expected = {
      other = { };
      tasks = "/var/lib/ray-tasks/tasks.db";
      credentials = true;
    };
  };
  it-sees-its-raylet-and-writes-beside-the-nodes-logs-and-nowhere-else = {
    expr = {
      inherit (unit.serviceConfig) ProtectProc ProtectSystem ReadWritePaths;
    };
    expected = {
      ProtectProc = "default";
      ProtectSystem = "strict";
      ReadWritePaths = [ "-/var/lib/ray/s" ];
    };
  };
  without-it-there-is-no-unit = {
    expr = (ray { }).systemd.services ? ray-bootstrap;
    expected = false;
  };
  a-worker-bootstraps-nothing = fires [ "Move services.ray.bootstrap to the head" ] (
    smallRay (joined // bootstraps)
  );
  dispatchers-need-tasks = fires [
    ''services.ray.cognition.tasks = "/var/lib/ray-tasks/tasks.db";''
    ''services.ray.bootstrap.mode = "organism";''
  ] (smallRay (bootstraps // { cognition.tasks = null; }));
  agents-alone-need-none = {
    expr = messages (smallRay {
      cognition.tasks = null;
      bootstrap = {
        enable = true;
        mode = "organism";
      };
    });
    expected = [ ];
  };
}
