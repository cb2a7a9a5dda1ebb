# The same machine in a cluster that serves language models: each offers its processor to coordinators
# of the others, and may run one itself.
{
  specialisation.llama.configuration.services.ray.llama = {
    enable = true;
    rpcServers.CPU.threads = 2;
  };
}
