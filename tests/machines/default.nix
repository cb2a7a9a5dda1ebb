# The machines that scenarios run on, by name: those of hosts/, one more worker, the same three as
# parts of a durable cluster, one alone, and one that does not belong.
let
  durable = machine: {
    imports = [
      machine
      ./durable.nix
    ];
  };
in
import ../../hosts
// {
  head = ./head.nix;
  worker = ./worker.nix;
  worker2 = ./worker2.nix;
  durable-head = durable ../../hosts/head.nix;
  durable-worker = durable ../../hosts/worker.nix;
  durable-worker2 = durable ./second-worker.nix;
  alone = ./alone.nix;
  outsider = ./outsider.nix;
}
