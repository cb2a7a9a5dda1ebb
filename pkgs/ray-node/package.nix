# The main processes of the units: of a node and of the head's Serve applications, in Python of the
# standard library alone, and of a job, with Ray's client. They are run by the Python of ray-env, as
# `python3 -SsE ${ray-node}/ray_node.py`, and share its memory with Ray's own processes.
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
