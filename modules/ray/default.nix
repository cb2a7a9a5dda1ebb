# services.ray: turns NixOS machines into one Ray cluster. Each file is one concern; options.nix
# declares and does nothing.
{
  imports = [
    ./options.nix
    ./aliases.nix
    ./asserts.nix
    ./asserts-llama.nix
    ./node.nix
    ./head.nix
    ./client.nix
    ./auth.nix
    ./tls.nix
    ./firewall.nix
    ./fault-tolerance.nix
    ./redis.nix
    ./bootstrap.nix
    ./bundled.nix
    ./cognition.nix
    ./gpu.nix
    ./jobs.nix
    ./llama.nix
    ./llama-rpc.nix
    ./network.nix
    ./replicas.nix
    ./serve.nix
    ./tasks.nix
  ];
}
