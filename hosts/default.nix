# The example machines, by name.
{
  head = ./head.nix;
  worker = ./worker.nix;
  gpu-worker = ./gpu-worker.nix;
  client = ./client.nix;
}
