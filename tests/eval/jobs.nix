# Jobs: what their units are told, and what cannot be.
{
  lib,
  ray,
  smallRay,
  messages,
  ...
}:
let
  inherit (import ./fires.nix { inherit lib messages; }) fires;
  jobs = {
    train = {
      entrypoint = "python3 train.py --cost $PRICE%";
      runtimeEnv.env_vars.PRICE = "3";
      resources.cpus = 2;
      retries = 2;
      timeout = 60;
    };
    nightly = {
      entrypoint = "true";
      schedule = "daily";
    };
  };
  head = ray { inherit jobs; };
  inherit (head.systemd.services) ray-job-train ray-job-nightly;
in
{
  the-unit-is-told-what-the-job-is = {
    expr = lib.removePrefix "--address" (
      lib.last (lib.splitString "ray_job.py\" \"" ray-job-train.serviceConfig.ExecStart)
    );
    expected = lib.concatStringsSep " " [
      ''=http://127.0.0.1:8265"''
      ''"--name=train"''
      ''"--runtime-env={\"env_vars\":{\"PRICE\":\"3\"}}"''
      ''"--cpus=2"''
      ''"--retries=2"''
      ''"--timeout=60"''
      ''"--history=5"''
      ''"--"''
      ''"python3 train.py --cost $$PRICE%%"''
    ];
  };
  a-job-runs-once-and-one-on-a-schedule-each-time = {
    expr = {
      once = lib.hasInfix "--each-time" ray-job-train.serviceConfig.ExecStart;
      each = lib.hasInfix "--each-time" ray-job-nightly.serviceConfig.ExecStart;
    };
    expected = {
      once = false;
      each = true;
    };
  };
  what-starts-a-job = {
    expr = {
      train = ray-job-train.wantedBy;
      nightly = ray-job-nightly.wantedBy;
      timers = lib.filter (lib.hasPrefix "ray-") (lib.attrNames head.systemd.timers);
      when = head.systemd.timers.ray-job-nightly.timerConfig;
    };
    expected = {
      train = [ "multi-user.target" ];
      nightly = [ ];
      timers = [ "ray-job-nightly" ];
      when = {
        AccuracySec = "1s";
        OnCalendar = [ "daily" ];
        Persistent = true;
      };
    };
  };
  the-token-is-a-credential = {
    expr = {
      inherit (ray-job-train.serviceConfig) LoadCredential User;
      path = ray-job-train.environment.RAY_AUTH_TOKEN_PATH;
    };
    expected = {
      LoadCredential = [ "token:/var/lib/ray/token" ];
      User = "ray";
      path = "%d/token";
    };
  };
  a-dashboard-on-all-addresses-is-asked-at-the-node's = {
    expr =
      lib.hasInfix "--address=http://10.0.0.1:8265"
        (ray {
          inherit jobs;
          nodeAddress = "10.0.0.1";
          dashboard.address = "0.0.0.0";
        }).systemd.services.ray-job-train.serviceConfig.ExecStart;
    expected = true;
  };
  a-worker-runs-no-jobs = fires [ "Move services.ray.jobs to the head" ] (smallRay {
    inherit jobs;
    role = "worker";
    headAddress = "10.0.0.1";
    nodeAddress = "10.0.0.2";
    auth.tokenFile = "/run/secrets/token";
  });
  jobs-need-the-dashboard = fires [ "services.ray.dashboard.enable = true;" ] (smallRay {
    inherit jobs;
    dashboard.enable = false;
  });
  a-name-that-is-no-unit's = fires [ ''"Train it"'' "services.ray.jobs.train-daily" ] (smallRay {
    jobs."Train it".entrypoint = "true";
  });
}
