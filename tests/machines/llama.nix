# The same machine in a cluster that serves language models: each offers its processor to coordinators
# of the others, and may run one itself. The head takes questions.
{ config, lib, ... }:
{
  specialisation.llama.configuration.services.ray = lib.mkMerge [
    {
      llama = {
        enable = true;
        rpcServers.CPU.threads = 2;
      };
    }
    (lib.mkIf (config.services.ray.role == "head") {
      serve.bundled = {
        enable = true;
        services = [ "chat" ];
      };
    })
  ];
}
