# A Ray cluster of three machines. Put your hardware's modules where the comments say so, then on each machine:
#   nixos-rebuild switch --flake .#NAME
{
  inputs.nixpkgs.url = "github:NixOS/nixpkgs/nixos-26.05";
  # Write here where your copy of ray-nixos is.
  inputs.ray-nixos.url = "path:/etc/nixos/ray-nixos";
  inputs.ray-nixos.inputs.nixpkgs.follows = "nixpkgs";

  outputs =
    { nixpkgs, ray-nixos, ... }:
    let
      head = "10.42.0.1";
      node =
        name: address: extra:
        nixpkgs.lib.nixosSystem {
          modules = [
            ray-nixos.nixosModules.ray
            # ./hardware-${name}.nix
            {
              nixpkgs.hostPlatform = "x86_64-linux";
              fileSystems."/".device = "/dev/disk/by-label/nixos";
              boot.loader.grub.device = "/dev/disk/by-id/system";
              system.stateVersion = "26.05";

              networking.hostName = name;
              networking.nftables.enable = true;
              networking.interfaces.eth0.ipv4.addresses = [
                {
                  inherit address;
                  prefixLength = 24;
                }
              ];

              services.ray = {
                enable = true;
                nodeAddress = address;
                interfaces = [ "eth0" ];
                allowedSubnets = [ "10.42.0.0/24" ];
              };
            }
            extra
          ];
        };
      # The head makes the token on its first start, in /var/lib/ray/token. Bring it here by
      # sops-nix, agenix or scp.
      worker = {
        services.ray = {
          role = "worker";
          headAddress = head;
          auth.tokenFile = "/run/secrets/ray-token";
        };
      };
    in
    {
      nixosConfigurations = {
        head = node "head" head { };
        worker1 = node "worker1" "10.42.0.2" worker;
        worker2 = node "worker2" "10.42.0.3" worker;
      };
    };
}
