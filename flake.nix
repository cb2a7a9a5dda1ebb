{
  description = "A Ray cluster as a NixOS option, and cognitive_actors, which runs on it";

  inputs.nixpkgs.url = "github:NixOS/nixpkgs/nixos-26.05";

  outputs =
    { self, nixpkgs }:
    let
      inherit (nixpkgs) lib;
      systems = [
        "x86_64-linux"
        "aarch64-linux"
      ];
      overlay = import ./pkgs/overlay.nix;
      pkgsFor = lib.genAttrs systems (system: nixpkgs.legacyPackages.${system}.extend overlay);
      eachSystem = make: lib.mapAttrs (_: make) pkgsFor;
      tests = import ./tests { inherit self nixpkgs; };
    in
    {
      nixosModules.ray = ./modules/ray;
      nixosModules.default = ./modules/ray;

      overlays.default = overlay;

      lib = import ./modules/ray/lib.nix { inherit lib; } // {
        # What the module renders for each machine of the tests: { NAME.PATH = text; }. Written to
        # tests/nodes by `make snapshots`.
        inherit (tests) snapshots;
      };

      packages = eachSystem (pkgs: {
        inherit (pkgs)
          ray-env
          ray-node
          ray-llama
          cognitive-actors
          ;
        default = pkgs.cognitive-actors;
        docs = pkgs.callPackage ./pkgs/docs.nix { };
      });

      apps = eachSystem (
        pkgs:
        let
          run = {
            type = "app";
            program = lib.getExe (pkgs.callPackage ./pkgs/pipeline.nix { });
            meta.description = "Runs four years of weather through a population of agents, on embedded Ray";
          };
        in
        {
          default = run;
          pipeline = run;
          cognitive = {
            type = "app";
            program = lib.getExe pkgs.cognitive-actors;
            meta.description = "The command of cognitive_actors";
          };
        }
      );

      checks = eachSystem tests.checksFor;

      devShells = eachSystem (pkgs: {
        default = pkgs.mkShell {
          packages = [
            pkgs.ray-env
            pkgs.ruff
            pkgs.mypy
            pkgs.python3.pkgs.pytest
            pkgs.nixfmt
          ];
        };
      });

      formatter = eachSystem (pkgs: pkgs.nixfmt);

      templates.default = {
        path = ./templates/cluster;
        description = "A Ray cluster of your own in one file";
      };

      nixosConfigurations = lib.mapAttrs (
        _: host:
        lib.nixosSystem {
          modules = [
            self.nixosModules.ray
            host
          ];
        }
      ) (import ./hosts);
    };
}
