# Everything that `nix flake check` checks, and the snapshots of what the machines render.
{ self, nixpkgs }:
let
  inherit (nixpkgs) lib;
  machines = import ./machines;
  render = import ./render.nix { inherit lib; };

  configurationOf =
    module:
    (lib.nixosSystem {
      modules = [
        self.nixosModules.ray
        module
      ];
    }).config;

  snapshotsOf =
    name: module:
    let
      config = configurationOf module;
    in
    {
      ${name} = render config;
    }
    // lib.mapAttrs' (
      specialisation:
      { configuration, ... }:
      lib.nameValuePair "${name}.${specialisation}" (render configuration)
    ) config.specialisation;

  snapshots = lib.concatMapAttrs snapshotsOf machines;
in
{
  inherit snapshots;

  checksFor =
    pkgs:
    {
      eval = import ./eval { inherit self nixpkgs pkgs; };
      snapshots = import ./snapshots.nix { inherit lib pkgs snapshots; };
      format = pkgs.runCommand "format" { nativeBuildInputs = [ pkgs.nixfmt ]; } ''
        find ${self} -name '*.nix' -exec nixfmt --check {} +
        touch $out
      '';
      inherit (self.packages.${pkgs.stdenv.hostPlatform.system}) docs ray-env;
    }
    // lib.mapAttrs' (name: test: lib.nameValuePair "scenario-${name}" test) (
      import ./nixos {
        inherit
          self
          nixpkgs
          pkgs
          machines
          ;
      }
    );
}
