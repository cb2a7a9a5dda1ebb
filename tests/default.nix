# Everything that `nix flake check` checks, and the snapshots of what the machines render.
{ self, nixpkgs }:
let
  inherit (nixpkgs) lib;
  machines = import ./machines;
  render = import ./render.nix { inherit lib; };

  # An instance of nixpkgs is the larger part of evaluating a machine. All take this one, but for
  # the machine that configures its own.
  oneNixpkgs = name: {
    nixpkgs.pkgs = lib.mkIf (name != "gpu-worker") nixpkgs.legacyPackages.x86_64-linux;
  };

  configurationOf =
    name: module:
    (lib.nixosSystem {
      modules = [
        self.nixosModules.ray
        module
        (oneNixpkgs name)
      ];
    }).config;

  snapshotsOf =
    name: module:
    let
      config = configurationOf name module;
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
