# What `ray start` and its supervisor are given.
{
  lib,
  smallRay,
  rayLib,
  ...
}:
let
  head = (smallRay { }).services.ray;
  worker =
    (smallRay {
      role = "worker";
      headAddress = "10.0.0.1";
      nodeAddress = "10.0.0.2";
      auth.tokenFile = "/run/secrets/token";
      resources = {
        cpus = 8;
        gpus = 2;
        memory = 1000;
        objectStore = 2000;
        custom.sensor = 2;
        labels.rack = "b4";
      };
      extraFlags = [ "--log-style=record" ];
      healthTimeout = 7;
    }).services.ray;
  pins = [
    "--node-manager-port=6380"
    "--object-manager-port=6381"
    "--dashboard-agent-listen-port=52365"
    "--dashboard-agent-grpc-port=52366"
    "--runtime-env-agent-port=52367"
    "--metrics-export-port=52368"
    "--min-worker-port=10002"
    "--max-worker-port=10199"
    "--temp-dir=/var/lib/ray/s"
    "--object-spilling-directory=/var/lib/ray/spill"
  ];
in
{
  head = {
    expr = rayLib.startArguments head;
    expected = [
      "start"
      "--block"
      "--disable-usage-stats"
      "--head"
      "--port=6379"
      "--ray-client-server-port=10001"
      "--include-dashboard=true"
      "--dashboard-host=127.0.0.1"
      "--dashboard-port=8265"
      "--node-ip-address=127.0.0.2"
    ]
    ++ pins
    ++ [ "--labels=ray-nixos/cluster=ray" ];
  };
  worker = {
    expr = rayLib.startArguments worker;
    expected = [
      "start"
      "--block"
      "--disable-usage-stats"
      "--address=10.0.0.1:6379"
      "--node-ip-address=10.0.0.2"
    ]
    ++ pins
    ++ [
      "--num-cpus=8"
      "--num-gpus=2"
      "--memory=1000"
      "--object-store-memory=2000"
      ''--resources={"sensor":2}''
      "--labels=rack=b4,ray-nixos/cluster=ray"
      "--log-style=record"
    ];
  };
  supervisor-of-a-head = {
    expr = rayLib.supervisorArguments head;
    expected = [
      "--health=127.0.0.2:6379"
      "--health=127.0.0.2:6380"
      "--door=127.0.0.2:52365"
      "--door=127.0.0.2:52367"
      "--door=127.0.0.2:10001"
      "--door=127.0.0.1:8265"
      "--grace=20"
      "--sessions=/var/lib/ray/s"
      "--keep-sessions=5"
    ];
  };
  supervisor-of-a-worker = {
    expr = rayLib.supervisorArguments worker;
    expected = [
      "--wait-for=10.0.0.1:6379"
      "--health=10.0.0.2:6380"
      "--door=10.0.0.2:52365"
      "--door=10.0.0.2:52367"
      "--gpus=2"
      "--grace=7"
      "--sessions=/var/lib/ray/s"
      "--keep-sessions=5"
    ];
  };
  ipv6 = {
    expr = rayLib.endpoint "fd00::1" 6379;
    expected = "[fd00::1]:6379";
  };
  # Ray's sockets below it must have names of at most 107 bytes.
  temporary-directory-is-short = {
    expr = lib.stringLength rayLib.temporaryDirectory <= 38;
    expected = true;
  };
}
