# The machines that scenarios run on, by name: those of hosts/, one more worker, one alone, and one
# that does not belong.
import ../../hosts
// {
  head = ./head.nix;
  worker = ./worker.nix;
  worker2 = ./worker2.nix;
  alone = ./alone.nix;
  outsider = ./outsider.nix;
}
