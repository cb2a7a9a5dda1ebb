# The worker of hosts/, and what an operator may change on it.
{
  imports = [
    ../../hosts/worker.nix
    ./forgetful.nix
    ./llama.nix
    ./tls.nix
  ];

  specialisation = {
    fewer-cpus.configuration.services.ray.resources.cpus = 1;
    frozen.configuration.services.ray = {
      resources.cpus = 1;
      restartIfChanged = false;
    };
    open-metrics.configuration.services.ray.metrics.openFirewall = true;
  };
}
