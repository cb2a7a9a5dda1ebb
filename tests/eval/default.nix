# Evaluation tests: what the module does with a configuration, found out without building anything.
{
  self,
  nixpkgs,
  pkgs,
}:
let
  inherit (nixpkgs) lib;

  # A whole machine with these modules, and nothing else of interest.
  nixos =
    modules:
    (lib.nixosSystem {
      modules = [
        self.nixosModules.ray
        ../../hosts/machine.nix
        {
          networking.hostName = "machine";
          # One for all: an instance of nixpkgs is the larger part of evaluating a machine.
          nixpkgs.pkgs = pkgs;
        }
      ]
      ++ modules;
    }).config;

  # The module with the little of NixOS that it touches.
  small =
    modules:
    (lib.evalModules {
      modules = [
        self.nixosModules.ray
        ./small-nixos.nix
      ]
      ++ modules;
      specialArgs = { inherit pkgs; };
    }).config;

  withRay =
    evaluate: settings:
    evaluate [
      {
        services.ray = {
          enable = true;
        }
        // settings;
      }
    ];

  context = {
    inherit
      self
      lib
      pkgs
      nixos
      small
      ;
    ray = withRay nixos;
    head = withRay nixos { };
    worker = withRay nixos {
      role = "worker";
      headAddress = "10.0.0.1";
      nodeAddress = "10.0.0.2";
      auth.tokenFile = "/run/secrets/token";
    };
    smallRay = withRay small;
    messages = config: map (failed: failed.message) (lib.filter (a: !a.assertion) config.assertions);
    rayLib = import ../../modules/ray/lib.nix { inherit lib; };
  };

  suites = [
    "arguments"
    "assertions"
    "bootstrap"
    "firewall"
    "flake"
    "gpu"
    "guide"
    "jobs"
    "llama"
    "llama-assertions"
    "serve"
    "services"
    "storage"
    "storage-assertions"
    "tasks"
    "unit"
  ];
  tests = lib.mergeAttrsList (
    map (
      suite:
      lib.mapAttrs' (name: lib.nameValuePair "test ${suite}: ${name}") (
        import (./. + "/${suite}.nix") context
      )
    ) suites
  );

  shown = lib.generators.toPretty { };
  failures = lib.runTests tests;
  report = lib.concatMapStringsSep "\n" (failed: ''
    ${failed.name}
      expected: ${shown failed.expected}
      result:   ${shown failed.result}'') failures;
in
if failures == [ ] then
  pkgs.runCommand "eval-tests" { } ''
    echo ${toString (lib.length (lib.attrNames tests))} tests > $out
  ''
else
  throw "Evaluation tests failed:\n${report}"
