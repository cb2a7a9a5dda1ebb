# Durable tasks: where they are kept, what the units are told of it, and what is no place for them.
{
  lib,
  ray,
  smallRay,
  messages,
  ...
}:
let
  inherit (import ./fires.nix { inherit lib messages; }) says fires;
  joined = {
    role = "worker";
    headAddress = "10.0.0.1";
    nodeAddress = "10.0.0.2";
    auth.tokenFile = "/run/secrets/token";
  };
  at = tasks: { cognition = { inherit tasks; }; };
  inDatabase = {
    cognition = {
      tasks = "postgresql://ray@10.0.0.9/tasks%20of%20ray";
      tasksPasswordFile = "/run/secrets/tasks";
    };
  };
  told = lib.filterAttrs (name: _: lib.hasPrefix "COGNITIVE_" name);
  found = config: unit: {
    people = told config.environment.variables;
    unit = told config.systemd.services.${unit}.environment;
    paths = config.systemd.services.${unit}.serviceConfig.ReadWritePaths or [ ];
    mounts = config.systemd.services.${unit}.unitConfig.RequiresMountsFor or [ ];
    made = lib.attrNames (config.systemd.tmpfiles.settings.ray-tasks or { });
  };
  byDefault = {
    COGNITIVE_TASKS = "/var/lib/ray-tasks/tasks.db";
  };
  saysOfEach = words: lib.map (tasks: says words (smallRay (at tasks)));
  once = {
    count = 1;
    words = [ ];
  };
in
{
  the-head-makes-a-place-and-all-are-told = {
    expr = {
      head = found (ray { }) "ray-head";
      directory = {
        inherit ((ray { }).systemd.tmpfiles.settings.ray-tasks."/var/lib/ray-tasks".d) mode user group;
      };
      worker = found (ray joined) "ray-worker";
      client = told (ray (joined // { role = "client"; })).environment.variables;
    };
    expected = {
      head = {
        people = byDefault;
        unit = byDefault;
        paths = [ "/var/lib/ray-tasks" ];
        mounts = [ "/var/lib/ray-tasks" ];
        made = [ "/var/lib/ray-tasks" ];
      };
      directory = {
        mode = "0750";
        user = "ray";
        group = "ray";
      };
      worker = {
        people = byDefault;
        unit = byDefault;
        paths = [ ];
        mounts = [ ];
        made = [ ];
      };
      client = byDefault;
    };
  };
  with-none-nobody-is-told = {
    expr = found (ray (at null)) "ray-head";
    expected = {
      people = { };
      unit = { };
      paths = [ ];
      mounts = [ ];
      made = [ ];
    };
  };
  a-database-is-reached-with-a-credential = {
    expr =
      map
        (
          { config, unit }:
          found config unit
          // {
            credential = lib.last config.systemd.services.${unit}.serviceConfig.LoadCredential;
          }
        )
        (
          lib.mapCartesianProduct ({ node, ... }: node) {
            node = [
              {
                config = ray inDatabase;
                unit = "ray-head";
              }
              {
                config = ray (joined // inDatabase);
                unit = "ray-worker";
              }
            ];
          }
        );
    expected = lib.replicate 2 {
      people = {
        COGNITIVE_TASKS = "postgresql://ray@10.0.0.9/tasks%20of%20ray";
        COGNITIVE_TASKS_PASSWORD_FILE = "/run/secrets/tasks";
      };
      unit = {
        COGNITIVE_TASKS = "postgresql://ray@10.0.0.9/tasks%%20of%%20ray";
        COGNITIVE_TASKS_PASSWORD_FILE = "%d/tasks-password";
      };
      paths = [ ];
      mounts = [ ];
      made = [ ];
      credential = "tasks-password:/run/secrets/tasks";
    };
  };

  what-is-a-place = {
    expr = lib.concatMap (tasks: messages (smallRay (at tasks))) [
      null
      "/srv/tasks/tasks.db"
      "/var/lib/ray/tasks.db"
      "postgresql://ray@10.0.0.9/tasks"
      "postgresql:///tasks?host=/run/postgresql"
    ];
    expected = [ ];
  };
  what-is-none = rec {
    expr =
      saysOfEach
        [
          ''"/var/lib/ray-tasks/tasks.db"''
          ''"postgresql://ray@10.42.0.9/tasks"''
        ]
        [
          "tasks.db"
          "/tasks.db"
          "/srv/tasks.db"
          "/var/lib/tasks.db"
          "/home/ray/tasks/tasks.db"
          "/run/tasks/tasks.db"
          "/srv/tasks/"
          "/srv/my tasks/tasks.db"
          "/srv/tasks/../tasks.db"
          "${builtins.storeDir}/00000000000000000000000000000000-tasks/tasks.db"
          "sqlite:////srv/tasks/tasks.db"
          "mysql://ray@10.0.0.9/tasks"
        ];
    expected = map (_: once) expr;
  };
  what-is-refused-is-shown-without-its-password = {
    expr = lib.filter (lib.hasInfix "secret") (
      messages (smallRay (at "mysql://ray:secret@10.0.0.9/tasks"))
    );
    expected = [ ];
  };
  a-password-in-the-url = rec {
    expr =
      saysOfEach
        [
          "services.ray.cognition.tasks has a password in it"
          ''services.ray.cognition.tasksPasswordFile = "/run/secrets/tasks-password";''
          "COGNITIVE_TASKS_PASSWORD_FILE"
        ]
        [
          "postgresql://ray:secret@10.0.0.9/tasks"
          "postgresql://10.0.0.9/tasks?user=ray&password=secret"
        ];
    expected = map (_: once) expr;
  };
  a-password-in-the-store =
    fires [ "services.ray.cognition.tasksPasswordFile lies in the Nix store" ]
      (smallRay {
        cognition = {
          inherit (inDatabase.cognition) tasks;
          tasksPasswordFile = ./default.nix;
        };
      });
  a-password-of-no-database =
    fires
      [
        "services.ray.cognition.tasksPasswordFile is for a database"
        ''services.ray.cognition.tasks = "postgresql://ray@10.42.0.9/tasks";''
      ]
      (smallRay {
        cognition.tasksPasswordFile = "/run/secrets/tasks";
      });
}
