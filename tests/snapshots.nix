# Compares tests/nodes with what the machines render now.
{
  lib,
  pkgs,
  snapshots,
}:
let
  filesBelow =
    directory: prefix:
    lib.concatMapAttrs (
      name: type:
      if type == "directory" then
        filesBelow (directory + "/${name}") "${prefix}${name}/"
      else
        { "${prefix}${name}" = type; }
    ) (builtins.readDir directory);

  compare =
    name: rendered:
    let
      directory = ./nodes + "/${name}";
      stored = if builtins.pathExists directory then filesBelow directory "" else { };
      paths = lib.attrNames (stored // rendered);
      same =
        path:
        stored ? ${path}
        && rendered ? ${path}
        && (stored.${path} == "symlink" || builtins.readFile (directory + "/${path}") == rendered.${path});
    in
    map (path: "tests/nodes/${name}/${path}") (lib.filter (path: !same path) paths);

  strangers = lib.subtractLists (lib.attrNames snapshots) (lib.attrNames (builtins.readDir ./nodes));
  different =
    lib.concatLists (lib.mapAttrsToList compare snapshots)
    ++ map (name: "tests/nodes/${name}") strangers;
in
if different == [ ] then
  pkgs.runCommand "snapshots" { } "touch $out"
else
  throw ''
    What the machines render is not what tests/nodes has; run `make snapshots`, and read the difference:
      ${lib.concatStringsSep "\n  " different}''
