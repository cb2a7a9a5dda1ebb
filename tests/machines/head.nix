# The head of hosts/, and what an operator may change on it.
{
  imports = [
    ../../hosts/head.nix
    ./forgetful.nix
    ./llama.nix
    ./redis.nix
    ./services.nix
    ./tls.nix
  ];
}
