# The main process of a Ray node's unit. Python of the standard library alone, run by the Python of
# ray-env: `python3 -SsE ${ray-node}/ray_node.py`, which shares its memory with Ray's own processes.
{ lib, stdenvNoCC }:
stdenvNoCC.mkDerivation {
  pname = "ray-node";
  version = "0.1.0";
  src = lib.fileset.toSource {
    root = ./.;
    fileset = lib.fileset.fileFilter (file: file.hasExt "py" && !lib.hasPrefix "test_" file.name) ./.;
  };
  installPhase = ''
    runHook preInstall
    install -D --target-directory=$out --mode=444 *.py
    runHook postInstall
  '';
  meta = {
    description = "Supervises `ray start --block` as a systemd service";
    license = lib.licenses.mit;
    platforms = lib.platforms.linux;
  };
}
