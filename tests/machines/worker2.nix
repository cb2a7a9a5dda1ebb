# The second worker, and what an operator may change on it.
{
  imports = [
    ./second-worker.nix
    ./llama.nix
    ./tls.nix
  ];
}
