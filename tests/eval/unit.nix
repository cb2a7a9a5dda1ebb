# The unit: no secret in it, and every room's part of it.
{
  lib,
  ray,
  head,
  worker,
  nixos,
  ...
}:
let
  headUnit = head.systemd.services.ray-head;
  headUnitWith = settings: (ray settings).systemd.services.ray-head;
  patient = headUnitWith { drain.deadline = 300; };
  workerUnit = worker.systemd.services.ray-worker;
  tls = {
    enable = true;
    certificateFile = "/run/secrets/node.pem";
    keyFile = "/run/secrets/node.key";
    caFile = "/run/secrets/ca.pem";
  };
in
{
  a-head-makes-its-token = {
    expr = {
      credential = headUnit.serviceConfig.LoadCredential;
      made = head.systemd.services ? ray-token;
    };
    expected = {
      credential = [ "token:/var/lib/ray/token" ];
      made = true;
    };
  };
  a-given-token-is-a-credential = {
    expr = {
      unit = workerUnit.serviceConfig.LoadCredential;
      path = workerUnit.environment.RAY_AUTH_TOKEN_PATH;
      made = (ray { auth.tokenFile = "/run/secrets/token"; }).systemd.services ? ray-token;
    };
    expected = {
      unit = [ "token:/run/secrets/token" ];
      path = "%d/token";
      made = false;
    };
  };
  authentication-is-said-either-way = {
    expr = map (unit: unit.environment.RAY_AUTH_MODE) [
      headUnit
      (headUnitWith { auth.enable = false; })
    ];
    expected = [
      "token"
      "disabled"
    ];
  };
  tls-is-credentials = {
    expr = (headUnitWith { inherit tls; }).serviceConfig.LoadCredential;
    expected = [
      "token:/var/lib/ray/token"
      "certificate:/run/secrets/node.pem"
      "key:/run/secrets/node.key"
      "ca:/run/secrets/ca.pem"
    ];
  };
  drain-is-a-workers-default = {
    expr = {
      head = headUnit.serviceConfig.TimeoutStopSec;
      worker = workerUnit.serviceConfig.TimeoutStopSec;
      asked = patient.serviceConfig.TimeoutStopSec;
      said = patient.environment.RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S;
    };
    expected = {
      head = 30;
      worker = 60;
      asked = 330;
      said = "300";
    };
  };
  shared-memory-follows-the-store = {
    expr = (ray { resources.objectStore = 1024 * 1024 * 1024; }).boot.devShmSize;
    expected = toString (1536 * 1024 * 1024);
  };
  a-switch-restarts-unless-told-not-to = {
    expr = (headUnitWith { restartIfChanged = false; }).restartIfChanged;
    expected = false;
  };
  environment-is-handed-on = {
    expr = (headUnitWith { environment.OMP_NUM_THREADS = "1"; }).environment.OMP_NUM_THREADS;
    expected = "1";
  };
  packages-are-added-to-the-environment = {
    expr =
      let
        more = ray { extraPythonPackages = ps: [ ps.networkx ]; };
        environmentOf =
          config:
          builtins.unsafeDiscardStringContext (
            lib.findFirst (p: lib.hasPrefix "ray-env" p.name) null config.environment.systemPackages
          );
      in
      {
        differs = environmentOf more != environmentOf head;
        runs = lib.hasInfix (environmentOf more) more.systemd.services.ray-head.serviceConfig.ExecStart;
        same = environmentOf head == environmentOf worker;
      };
    expected = {
      differs = true;
      runs = true;
      same = true;
    };
  };
  another-user-is-not-made = {
    expr =
      let
        config = nixos [
          {
            services.ray = {
              enable = true;
              user = "svc";
              group = "svc";
            };
            users.users.svc = {
              isSystemUser = true;
              group = "svc";
            };
            users.groups.svc = { };
          }
        ];
      in
      {
        inherit (config.systemd.services.ray-head.serviceConfig) User Group;
        made = config.users.users ? ray;
      };
    expected = {
      User = "svc";
      Group = "svc";
      made = false;
    };
  };
  a-client-runs-nothing = {
    expr = lib.filter (lib.hasPrefix "ray") (
      lib.attrNames
        (ray {
          role = "client";
          headAddress = "10.0.0.1";
          auth.tokenFile = "/run/secrets/token";
        }).systemd.services
    );
    expected = [ ];
  };
  a-client-is-wired = {
    expr =
      lib.filterAttrs (name: _: lib.hasPrefix "RAY" name)
        (ray {
          role = "client";
          headAddress = "10.0.0.1";
          auth.tokenFile = "/run/secrets/token";
          namespace = "lab";
          ports.client = 10099;
        }).environment.variables;
    expected = {
      RAY_ADDRESS = "ray://10.0.0.1:10099";
      RAY_API_SERVER_ADDRESS = "http://10.0.0.1:8265";
      RAY_AUTH_MODE = "token";
      RAY_AUTH_TOKEN_PATH = "/run/secrets/token";
      RAY_USAGE_STATS_ENABLED = "0";
      RAY_gcs_rpc_server_reconnect_timeout_s = "600";
      RAY_grpc_client_keepalive_time_ms = "15000";
      RAY_grpc_client_keepalive_timeout_ms = "30000";
      RAYNIXOS_NAMESPACE = "lab";
    };
  };
}
