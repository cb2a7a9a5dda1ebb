# The scenarios as NixOS VM tests: { NAME = test; }. Machines are evaluated once for all scenarios
# that share them, since each is a whole NixOS; which of them start is the scenario's affair. For the
# same reason they share one nixpkgs.
{
  self,
  nixpkgs,
  pkgs,
  machines,
}:
let
  inherit (nixpkgs) lib;
  # Not testers.runNixOSTest: it gives all machines a nixpkgs that they cannot configure, and one of
  # these does.
  inherit (import (nixpkgs + "/nixos/lib") { inherit lib; }) runTest;

  driverFor =
    name: nodes: nixpkgsOf:
    (runTest {
      inherit name;
      hostPkgs = pkgs;
      nodes = lib.mapAttrs (node: machine: {
        imports = [
          self.nixosModules.ray
          machine
          ./machine.nix
          {
            # A scenario knows a machine by it.
            networking.hostName = lib.mkForce node;
            nixpkgs = {
              hostPlatform = lib.mkForce pkgs.stdenv.hostPlatform.system;
            }
            // nixpkgsOf;
          }
        ];
      }) nodes;
      # Each scenario brings its own.
      testScript = "";
    }).driver;

  cluster = driverFor "ray-cluster" (lib.removeAttrs machines [ "gpu-worker" ]) { inherit pkgs; };
  # By itself, so that only this one needs an unfree driver.
  withGpus = driverFor "ray-gpus" { inherit (import ../../hosts) head gpu-worker; } { };

  directory = ../scenarios;
  shared = builtins.readFile (directory + "/cluster.py");

  test =
    name: file:
    let
      script = builtins.readFile file;
      driver = if lib.hasInfix "gpu_worker" script then withGpus else cluster;
    in
    pkgs.stdenv.mkDerivation {
      name = "ray-scenario-${name}";
      requiredSystemFeatures = [
        "nixos-test"
        "kvm"
      ];
      buildCommand = ''
        mkdir --parents $out
        export LOGFILE=/dev/null
        ${driver}/bin/nixos-test-driver --output_directory $out ${
          pkgs.writeText "${name}.py" (shared + script)
        }
      '';
      passthru = { inherit driver; };
    };

  scenariosIn =
    place:
    lib.mapAttrs' (file: _: lib.nameValuePair (lib.removeSuffix ".py" file) (place + "/${file}")) (
      lib.filterAttrs (file: _: lib.hasSuffix ".py" file && file != "cluster.py") (builtins.readDir place)
    );
in
lib.mapAttrs test (scenariosIn directory // scenariosIn (directory + "/faults"))
