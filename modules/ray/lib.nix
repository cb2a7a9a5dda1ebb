# Pure functions from the options of services.ray to ports and arguments: no config, no pkgs, so
# that they can be tested alone.
{ lib }:
let
  inherit (lib)
    concatMap
    concatStringsSep
    filter
    findFirst
    hasInfix
    mapAttrsToList
    optional
    optionals
    range
    ;
in
rec {
  # host:port, with brackets around an IPv6 address.
  endpoint = host: port: "${if hasInfix ":" host then "[${host}]" else host}:${toString port}";

  isLoopback =
    address:
    lib.hasPrefix "127." address
    || lib.elem address [
      "localhost"
      "::1"
    ];

  # A condition, and what to say if it does not hold; the text is written in lines and said in one.
  must = assertion: text: {
    inherit assertion;
    message = "services.ray: ${oneLine text}";
  };
  oneLine = text: concatStringsSep " " (lib.splitString "\n" (lib.removeSuffix "\n" text));

  hasPassword = url: builtins.match "[a-z0-9+.-]+://[^/]*:[^/]+@.*" url != null;

  # Whether a checkpoint URL is a directory of the machine.
  isDirectory = url: lib.hasPrefix "/" url || lib.hasPrefix "file:///" url;

  # Every port that a node of this role listens on: { option, from, to, open }. `open`: other
  # machines of the cluster need it.
  portTable =
    cfg:
    let
      isHead = cfg.role == "head";
      single = name: open: {
        option = "services.ray.ports.${name}";
        from = cfg.ports.${name};
        to = cfg.ports.${name};
        inherit open;
      };
    in
    optionals isHead [
      (single "gcs" true)
      (single "client" cfg.client.openFirewall)
      (single "dashboard" (!isLoopback cfg.dashboard.address))
      (single "autoscalerMetrics" false)
      (single "dashboardMetrics" false)
    ]
    ++ optional (isHead && cfg.serve.applications != { }) (single "serve" cfg.serve.openFirewall)
    ++ optional (runsRedis cfg) {
      option = "services.ray.faultTolerance.redis.port";
      from = cfg.faultTolerance.redis.port;
      to = cfg.faultTolerance.redis.port;
      open = false;
    }
    ++ [
      (single "nodeManager" true)
      (single "objectManager" true)
      (single "dashboardAgent" false)
      # The head asks the agents for logs.
      (single "dashboardAgentGrpc" true)
      (single "runtimeEnvAgent" false)
      (single "metrics" cfg.metrics.openFirewall)
      {
        option = "services.ray.ports.workers";
        inherit (cfg.ports.workers) from to;
        open = true;
      }
    ]
    ++ map (
      { device, settings, ... }:
      {
        option = "services.ray.llama.rpcServers.${device}.port";
        from = settings.port;
        to = settings.port;
        open = true;
      }
    ) (rpcServers cfg)
    ++ optional (servesModels cfg && cfg.llama.coordinators > 0) {
      option = "services.ray.llama.basePort";
      from = cfg.llama.basePort;
      to = cfg.llama.basePort + cfg.llama.coordinators - 1;
      open = false;
    };

  openPorts = cfg: filter (port: port.open) (portTable cfg);

  # Pairs of entries whose ports overlap.
  clashes =
    table:
    let
      indexed = lib.imap0 (i: port: port // { inherit i; }) table;
      overlap = a: b: a.from <= b.to && b.from <= a.to;
    in
    concatMap (a: map (b: { inherit a b; }) (filter (b: a.i < b.i && overlap a b) indexed)) indexed;

  # The first port from `start` on that no entry of the table uses.
  freePort =
    table: start:
    findFirst (port: !lib.any (used: used.from <= port && port <= used.to) table) null (
      range start 65535 ++ range 1024 start
    );

  # Whether the head of this configuration has its state in Redis, and whether that is its own one.
  usesRedis = cfg: cfg.role == "head" && cfg.faultTolerance.storage == "redis";
  runsRedis = cfg: usesRedis cfg && cfg.faultTolerance.redis.address == null;

  # The program that `start` is an argument of.
  startProgram =
    cfg: env:
    if usesRedis cfg then
      [
        "${env}/bin/python3"
        "-P"
        "${cfg.supervisor}/ray_with_redis.py"
      ]
    else
      [ "${env}/bin/ray" ];

  # What the unit runs: `ray start …`, without the name of the program.
  startArguments =
    cfg:
    let
      isHead = cfg.role == "head";
      flag = name: value: "--${name}=${toString value}";
      given = name: value: optional (value != null) (flag name value);
    in
    [
      "start"
      "--block"
      "--disable-usage-stats"
    ]
    ++ (
      if isHead then
        [
          "--head"
          (flag "port" cfg.ports.gcs)
          (flag "ray-client-server-port" cfg.ports.client)
          "--include-dashboard=${lib.boolToString cfg.dashboard.enable}"
          (flag "dashboard-host" cfg.dashboard.address)
          (flag "dashboard-port" cfg.ports.dashboard)
        ]
        ++ optionals (usesRedis cfg) (given "redis-username" cfg.faultTolerance.redis.username)
      else
        [ (flag "address" (endpoint cfg.headAddress cfg.ports.gcs)) ]
    )
    ++ [
      (flag "node-ip-address" cfg.nodeAddress)
      (flag "node-manager-port" cfg.ports.nodeManager)
      (flag "object-manager-port" cfg.ports.objectManager)
      (flag "dashboard-agent-listen-port" cfg.ports.dashboardAgent)
      (flag "dashboard-agent-grpc-port" cfg.ports.dashboardAgentGrpc)
      (flag "runtime-env-agent-port" cfg.ports.runtimeEnvAgent)
      (flag "metrics-export-port" cfg.ports.metrics)
      (flag "min-worker-port" cfg.ports.workers.from)
      (flag "max-worker-port" cfg.ports.workers.to)
      (flag "temp-dir" temporaryDirectory)
      (flag "object-spilling-directory" "${stateDirectory}/spill")
    ]
    ++ given "num-cpus" cfg.resources.cpus
    ++ given "num-gpus" cfg.resources.gpus
    ++ given "memory" cfg.resources.memory
    ++ given "object-store-memory" cfg.resources.objectStore
    ++ optional (cfg.resources.custom != { }) (flag "resources" (builtins.toJSON cfg.resources.custom))
    ++ optional (cfg.resources.labels != { }) (
      flag "labels" (
        concatStringsSep "," (mapAttrsToList (name: value: "${name}=${value}") cfg.resources.labels)
      )
    )
    ++ cfg.extraFlags;

  # Where the head's own programs reach its dashboard.
  dashboardEndpoint =
    cfg:
    let
      isWildcard = lib.elem cfg.dashboard.address [
        "0.0.0.0"
        "::"
      ];
    in
    endpoint (if isWildcard then cfg.nodeAddress else cfg.dashboard.address) cfg.ports.dashboard;

  # What the unit of a job is told of it.
  jobArguments =
    cfg: name: job:
    let
      flag = option: value: optional (value != null) "--${option}=${toString value}";
      json = option: value: optional (value != { }) "--${option}=${builtins.toJSON value}";
    in
    [
      "--address=http://${dashboardEndpoint cfg}"
      "--name=${name}"
    ]
    ++ json "runtime-env" job.runtimeEnv
    ++ flag "cpus" job.resources.cpus
    ++ flag "gpus" job.resources.gpus
    ++ flag "memory" job.resources.memory
    ++ json "resources" job.resources.custom
    ++ flag "retries" job.retries
    ++ flag "timeout" job.timeout
    ++ flag "history" job.history
    ++ optional (job.schedule != null) "--each-time"
    ++ [
      "--"
      job.entrypoint
    ];

  bootstraps = cfg: cfg.role == "head" && cfg.bootstrap.enable;

  # The units of this machine that speak with the cluster as a node or a driver does: what tells one
  # how to is for all of them.
  clusterUnits =
    cfg:
    optional (cfg.role != "client") "ray-${cfg.role}"
    ++ optional (bootstraps cfg) "ray-bootstrap"
    ++ optional (servesModels cfg) "ray-llama-register";

  servesModels = cfg: cfg.role != "client" && cfg.llama.enable;

  # The RPC servers of this node, each with its unit and where it is reached.
  rpcServers =
    cfg:
    optionals (servesModels cfg) (
      mapAttrsToList (device: settings: {
        inherit device settings;
        unit = "ray-llama-rpc-${lib.toLower device}";
        endpoint = endpoint cfg.nodeAddress settings.port;
        isGpu = device != "CPU";
      }) cfg.llama.rpcServers
    );

  # The units that use the GPUs of this machine.
  gpuUnits =
    cfg:
    [ "ray-${cfg.role}" ]
    ++ optional (servesModels cfg) "ray-llama-register"
    ++ map (server: server.unit) (filter (server: server.isGpu) (rpcServers cfg));

  # Files and directories of this machine that models are in.
  modelPlaces =
    cfg:
    optional (cfg.llama.modelsDirectory != null) cfg.llama.modelsDirectory
    ++ filter (path: !lib.hasPrefix builtins.storeDir path) (lib.attrValues cfg.llama.models);

  # What `cognitive` is told when it reports a node.
  registerArguments =
    cfg: name:
    let
      inherit (cfg.llama)
        models
        modelsDirectory
        package
        redis
        ;
      gcs = if cfg.role == "head" then cfg.nodeAddress else cfg.headAddress;
    in
    [
      "register"
      "--cluster=${endpoint gcs cfg.ports.gcs}"
      "--name=${name}"
      "--address=${cfg.nodeAddress}"
      "--llama-server=${package}/bin/llama-server"
    ]
    ++ map (server: "--rpc=${server.device}=${server.endpoint}") (rpcServers cfg)
    ++ optional (modelsDirectory != null) "--models=${modelsDirectory}"
    ++ mapAttrsToList (model: path: "--model=${model}=${path}") models
    ++ optional (redis.url != null) "--redis=${redis.url}";

  # What `cognitive` is told when it bootstraps.
  bootstrapArguments =
    cfg:
    let
      inherit (cfg.bootstrap)
        dispatchers
        extraArguments
        mode
        model
        timeout
        ;
    in
    [
      "bootstrap"
      "--address=${endpoint cfg.nodeAddress cfg.ports.gcs}"
      "--mode=${mode}"
    ]
    ++ optional (mode != "organism") "--dispatchers=${toString dispatchers}"
    ++ optional (mode != "dispatchers" && model != null) "--model=${model}"
    ++ [
      "--timeout=${toString timeout}"
      "--json"
    ]
    ++ extraArguments;

  # Whether a place of tasks is a file in a directory that it can have for itself: one that is not
  # made for all, and that units can be given.
  isTaskFile =
    place:
    let
      directory = dirOf place;
      isShared = builtins.match "/[^/]+|/(home|root|run|tmp|var/tmp)(/.*)?|/var/[^/]+" directory != null;
    in
    builtins.match "(/[^/[:space:]%]+)+" place != null
    && !hasInfix "/.." place
    && !lib.hasPrefix builtins.storeDir place
    && directory != "/"
    && !isShared;

  isTaskServer = place: builtins.match "postgresql://[^[:space:]]+" place != null;

  # What the supervisor is told of the node that it runs.
  supervisorArguments =
    cfg:
    let
      here = endpoint cfg.nodeAddress;
      isHead = cfg.role == "head";
    in
    optional (!isHead) "--wait-for=${endpoint cfg.headAddress cfg.ports.gcs}"
    ++ optional isHead "--health=${here cfg.ports.gcs}"
    ++ [
      "--health=${here cfg.ports.nodeManager}"
      # Drivers over Ray Client, jobs and runtime environments need the agents, which come last.
      "--door=${here cfg.ports.dashboardAgent}"
      "--door=${here cfg.ports.runtimeEnvAgent}"
    ]
    ++ optional isHead "--door=${here cfg.ports.client}"
    ++ optional (isHead && cfg.dashboard.enable) "--door=${dashboardEndpoint cfg}"
    ++ optional (
      cfg.resources.gpus != null && cfg.resources.gpus > 0
    ) "--gpus=${toString cfg.resources.gpus}"
    ++ [
      "--grace=${toString cfg.healthTimeout}"
      "--sessions=${temporaryDirectory}"
      "--keep-sessions=${toString cfg.keepSessions}"
    ];

  stateDirectory = "/var/lib/ray";

  # Below a directory that only the group may enter, because Ray makes it writable by everyone.
  # Short, because the names of Ray's sockets below it must fit into 107 bytes.
  temporaryDirectory = "${stateDirectory}/s";

  # Where a token lies that the head has made itself.
  madeToken = "${stateDirectory}/token";

  tokenFile = cfg: if cfg.auth.tokenFile != null then cfg.auth.tokenFile else madeToken;
}
