# What `services.ray.enable = true` alone makes of a machine.
{
  imports = [ ../../hosts/machine.nix ];
  networking.hostName = "alone";
  systemd.network.networks."20-lan0" = {
    matchConfig.Name = "lan0";
    address = [ "192.168.42.50/24" ];
  };
  services.ray.enable = true;

  specialisation.jobs.configuration.services.ray.jobs = {
    once.entrypoint = "echo hello from $(python3 -c 'import ray; print(ray.__version__)')";
    # It runs again when it is another one.
    again = {
      entrypoint = "test -e $MARK || (touch $MARK; exit 7)";
      runtimeEnv.env_vars.MARK = "/var/lib/ray/again";
      retries = 1;
      timeout = 300;
    };
    fails.entrypoint = "exit 3";
    waits.entrypoint = "sleep 1000";
    often = {
      entrypoint = "date >> /var/lib/ray/often";
      schedule = "*:*:0/15";
      history = 2;
    };
  };
  specialisation.serve.configuration.services.ray.serve.applications = {
    cognitive.import_path = "cognitive_actors.serve.cognitive:build";
  };
  # As another version of the services would be: it is put in the place of the first.
  specialisation.serve-other.configuration.services.ray.serve.applications = {
    cognitive = {
      import_path = "cognitive_actors.serve.cognitive:build";
      args.precision = 2.0;
    };
  };
  specialisation.serve-broken.configuration.services.ray.serve.applications = {
    broken = {
      import_path = "cognitive_actors.serve.cognitive:build";
      args.model = "/nowhere.yaml";
    };
  };
  specialisation.checkpoints.configuration.services.ray.cognition.checkpointDirectory =
    "/srv/checkpoints";
}
