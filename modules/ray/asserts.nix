# What cannot work, said before anything is built. Every message says what to write instead.
{ config, lib, ... }:
let
  inherit (lib)
    elem
    filter
    filterAttrs
    hasPrefix
    mapAttrsToList
    mkIf
    optional
    optionals
    ;
  rayLib = import ./lib.nix { inherit lib; };
  cfg = config.services.ray;
  inherit (rayLib) hasPassword must oneLine;
  inherit (cfg.faultTolerance) redis;
  inherit (cfg.cognition) checkpointDirectory tasks;
  isReachable = cfg.role != "client" && !rayLib.isLoopback (toString cfg.nodeAddress);

  secrets = filterAttrs (_: path: path != null) {
    "auth.tokenFile" = cfg.auth.tokenFile;
    "tls.keyFile" = cfg.tls.keyFile;
    "faultTolerance.redis.passwordFile" = redis.passwordFile;
    "faultTolerance.redis.tls.keyFile" = redis.tls.keyFile;
    "cognition.redisPasswordFile" = cfg.cognition.redisPasswordFile;
    "cognition.tasksPasswordFile" = cfg.cognition.tasksPasswordFile;
    "serve.tokenFile" = cfg.serve.tokenFile;
    "llama.redis.passwordFile" = cfg.llama.redis.passwordFile;
  };

  # Other services of this machine whose ports can be seen here.
  otherServices =
    mapAttrsToList (name: server: {
      option = "services.redis.servers.${name}.port";
      from = server.port;
      to = server.port;
    }) (filterAttrs isOtherRedis config.services.redis.servers)
    ++ optional config.services.prometheus.enable {
      option = "services.prometheus.port";
      from = config.services.prometheus.port;
      to = config.services.prometheus.port;
    }
    ++ optional config.services.grafana.enable {
      option = "services.grafana.settings.server.http_port";
      from = config.services.grafana.settings.server.http_port;
      to = config.services.grafana.settings.server.http_port;
    };

  # The head's own is in the table by the option that a person writes.
  isOtherRedis =
    name: server: server.enable && server.port != 0 && !(rayLib.runsRedis cfg && name == "ray");

  ours = rayLib.portTable cfg;
  table = ours ++ otherServices;
  isOurs = port: hasPrefix "services.ray." port.option;
  ourClashes = filter (clash: isOurs clash.a || isOurs clash.b) (rayLib.clashes table);

  isPlace = url: rayLib.isDirectory url || builtins.match "[a-z0-9+.-]+://.+" url != null;
  isTasksPlace = rayLib.isTaskFile tasks || rayLib.isTaskServer tasks;
  # A URL of tasks as it may be shown.
  withoutPassword =
    place:
    if hasPassword place || builtins.match ".*[?&]password=.*" place != null then
      "${lib.head (lib.splitString "://" place)}://…"
    else
      place;
  # Who may write into Redis decides what the cluster runs.
  isOpenRedis =
    rayLib.usesRedis cfg
    && redis.address != null
    && redis.passwordFile == null
    && redis.tls.certificateFile == null;

  noClash =
    { a, b }:
    let
      shown =
        port: if isSingle port then toString port.from else "${toString port.from} to ${toString port.to}";
      isSingle = port: port.from == port.to;
      moved = if isOurs b then b else a;
      free = toString (rayLib.freePort table moved.from);
    in
    must false (
      ''
        ${a.option} (${shown a}) and ${b.option} (${shown b}) use the same port on
        ${config.networking.hostName}.
      ''
      + (
        if isSingle moved then
          "Write ${moved.option} = ${free};"
        else
          "Move the other port out of the range; ${free} is free."
      )
    );

  notInStore =
    name: path:
    must (!hasPrefix builtins.storeDir path) ''
      services.ray.${name} lies in the Nix store, where everyone can read it. Write the path as a
      string, to a file that is put there at run time:
      services.ray.${name} = "/run/secrets/…"; (see sops-nix or agenix).
    '';

  badJobName =
    name:
    must false ''
      "${name}" in services.ray.jobs cannot be the name of a unit. Write it with lower-case letters,
      digits and dashes: services.ray.jobs.train-daily
    '';
in
{
  config = mkIf cfg.enable {
    assertions = [
      (must (cfg.role == "head" || cfg.headAddress != null) ''
        the role "${cfg.role}" needs the address of the head.
        Write services.ray.headAddress = "10.42.0.1";
      '')
      (must (cfg.role != "worker" || cfg.nodeAddress != null) ''
        a worker needs the address that the other nodes reach it by.
        Write services.ray.nodeAddress = "10.42.0.2";
      '')
      (must
        (
          !elem cfg.nodeAddress [
            "127.0.0.1"
            "::1"
            "localhost"
          ]
        )
        ''
          Ray replaces ${toString cfg.nodeAddress} by another address of this machine.
          Write services.ray.nodeAddress = "127.0.0.2"; for a cluster of this machine alone.
        ''
      )
      (must (cfg.role != "worker" || !rayLib.isLoopback (toString cfg.nodeAddress)) ''
        a worker cannot be reached at ${toString cfg.nodeAddress}.
        Write the address of its network interface into services.ray.nodeAddress.
      '')
      (must (cfg.role == "head" || !cfg.auth.enable || cfg.auth.tokenFile != null) ''
        a ${cfg.role} must be given the token of its cluster. Copy /var/lib/ray/token of the head to
        this machine by a way that keeps it secret, and write
        services.ray.auth.tokenFile = "/run/secrets/ray-token";
      '')
      (must
        (
          !cfg.tls.enable
          || (cfg.tls.certificateFile != null && cfg.tls.keyFile != null && cfg.tls.caFile != null)
        )
        ''
          TLS needs three files. Write services.ray.tls.certificateFile, services.ray.tls.keyFile and
          services.ray.tls.caFile.
        ''
      )
      (must (cfg.ports.workers.from <= cfg.ports.workers.to) ''
        the range of services.ray.ports.workers ends (${toString cfg.ports.workers.to}) before it begins
        (${toString cfg.ports.workers.from}).
        Write services.ray.ports.workers.to = ${toString (cfg.ports.workers.from + 197)};
      '')
      (must (cfg.allowedSubnets == [ ] || config.networking.nftables.enable) ''
        services.ray.allowedSubnets needs nftables. Write networking.nftables.enable = true;
      '')
      (must (cfg.allowedSubnets == [ ] || cfg.interfaces != [ ]) ''
        services.ray.allowedSubnets narrows services.ray.interfaces, which is empty.
        Write services.ray.interfaces = [ "cluster0" ];
      '')
      (must (cfg.extraPythonPackages == null || cfg.package ? override) ''
        services.ray.package is not made by pkgs.ray-env, so
        services.ray.extraPythonPackages cannot be added to it.
        Put the packages into services.ray.package itself.
      '')
      (must (cfg.gpu.vendor != "none" || cfg.resources.gpus == null || cfg.resources.gpus == 0) ''
        services.ray.resources.gpus is ${toString cfg.resources.gpus}, but
        services.ray.gpu.vendor is "none". Write "auto", "nvidia" or "amd".
      '')
      (must (redis.address != null || !redis.tls.enable) ''
        services.ray.faultTolerance.redis.tls is for a Redis elsewhere; the head's own is on loopback.
        Write services.ray.faultTolerance.redis.address = "redis.example.org:6379"; or leave tls out.
      '')
      (must (redis.address != null || redis.username == null) ''
        services.ray.faultTolerance.redis.username is for a Redis elsewhere; the head's own has no
        users. Write services.ray.faultTolerance.redis.address = "redis.example.org:6379"; or leave
        it out.
      '')
      (must (!redis.tls.enable || redis.tls.caFile != null) ''
        TLS to Redis needs the authority that signed its certificate.
        Write services.ray.faultTolerance.redis.tls.caFile = "/run/secrets/redis-ca.pem";
      '')
      (must ((redis.tls.certificateFile == null) == (redis.tls.keyFile == null)) ''
        a certificate for Redis needs its key. Write both
        services.ray.faultTolerance.redis.tls.certificateFile and
        services.ray.faultTolerance.redis.tls.keyFile, or none.
      '')
      (must (checkpointDirectory == null || isPlace checkpointDirectory) ''
        services.ray.cognition.checkpointDirectory is "${toString checkpointDirectory}", which is
        another place for each program. Write a whole path, "/srv/shared/checkpoints", or a URL,
        "redis://10.42.0.1:6391".
      '')
      (must (checkpointDirectory == null || !hasPassword checkpointDirectory) ''
        services.ray.cognition.checkpointDirectory has a password in it, and everyone on the machine
        can read it. Leave it out of the URL, put it into a file, and write
        services.ray.cognition.redisPasswordFile = "/run/secrets/checkpoints-password"; (it becomes
        COGNITIVE_REDIS_PASSWORD_FILE).
      '')
      (must (tasks == null || isTasksPlace) ''
        services.ray.cognition.tasks is "${withoutPassword (toString tasks)}", where no tasks can be
        kept. Write the path of a file in a directory of its own, which is made,
        "/var/lib/ray-tasks/tasks.db", or a database, "postgresql://ray@10.42.0.9/tasks".
      '')
      (must (tasks == null || !isTasksPlace || withoutPassword tasks == tasks) ''
        services.ray.cognition.tasks has a password in it, and everyone on the machine can read it.
        Leave it out of the URL, put it into a file, and write
        services.ray.cognition.tasksPasswordFile = "/run/secrets/tasks-password"; (it becomes
        COGNITIVE_TASKS_PASSWORD_FILE).
      '')
      (must (cfg.cognition.tasksPasswordFile == null || (tasks != null && rayLib.isTaskServer tasks)) ''
        services.ray.cognition.tasksPasswordFile is for a database, and
        services.ray.cognition.tasks names none.
        Write services.ray.cognition.tasks = "postgresql://ray@10.42.0.9/tasks"; or leave it out.
      '')
    ]
    ++ optionals cfg.bootstrap.enable [
      (must (cfg.role == "head") ''
        a ${cfg.role} bootstraps no cluster. Move services.ray.bootstrap to the head of the cluster.
      '')
      (must (cfg.bootstrap.mode == "organism" || tasks != null) ''
        the dispatchers of services.ray.bootstrap have no tasks to work on.
        Write services.ray.cognition.tasks = "/var/lib/ray-tasks/tasks.db"; or
        services.ray.bootstrap.mode = "organism";
      '')
    ]
    ++ optional cfg.serve.bundled.enable (
      must (cfg.role == "head") ''
        a ${cfg.role} deploys no applications. Move services.ray.serve.bundled.enable to the head of
        the cluster.
      ''
    )
    ++ optionals (cfg.jobs != { }) [
      (must (cfg.role == "head") ''
        a ${cfg.role} runs no jobs. Move services.ray.jobs to the head of the cluster.
      '')
      (must (cfg.role != "head" || cfg.dashboard.enable) ''
        services.ray.jobs needs the Jobs API. Write services.ray.dashboard.enable = true;
      '')
    ]
    ++ optionals (cfg.serve.applications != { }) [
      (must (cfg.role == "head") ''
        a ${cfg.role} deploys no applications. Move services.ray.serve.applications to the head of the
        cluster.
      '')
      (must (cfg.role != "head" || cfg.dashboard.enable) ''
        services.ray.serve.applications needs the Serve API. Write services.ray.dashboard.enable = true;
      '')
    ]
    ++ map badJobName (
      filter (name: builtins.match "[a-z0-9]([a-z0-9-]*[a-z0-9])?" name == null) (lib.attrNames cfg.jobs)
    )
    ++ mapAttrsToList notInStore secrets
    ++ optionals (cfg.role != "client") (map noClash ourClashes);

    warnings = map oneLine (
      optional (!cfg.auth.enable) ''
        services.ray.auth.enable is false: everyone who reaches a port of this Ray node runs code on
        it as ${cfg.user}.
      ''
      ++ optional (isReachable && cfg.role == "head" && cfg.interfaces == [ ]) ''
        services.ray.nodeAddress is ${cfg.nodeAddress}, but services.ray.interfaces is empty: the
        firewall lets no worker in.
      ''
      ++ optional (isReachable && !config.networking.firewall.enable) ''
        networking.firewall.enable is false: all ports of this Ray node are open to everyone, metrics
        and worker processes included.
      ''
      ++ optional isOpenRedis ''
        services.ray.faultTolerance.redis.passwordFile is null: everyone who reaches the Redis at
        ${redis.address} decides what this cluster knows, and runs.
      ''
      ++ optional (cfg.role == "head" && cfg.headAddress != null && cfg.headAddress != cfg.nodeAddress) ''
        services.ray.headAddress has no effect on a head; its own address is
        services.ray.nodeAddress.
      ''
    );
  };
}
