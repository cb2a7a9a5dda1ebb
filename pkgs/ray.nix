# nixpkgs' ray, with the wheels of the release that this project is made for. It is newer than
# nixpkgs' because before 2.58 the internal gRPC port of Serve replicas takes pickles from anyone,
# and 2.57 brought draining on SIGTERM.
{
  lib,
  stdenv,
  python,
  fetchPypi,
  ray,
}:
let
  version = "2.60.0";
  wheels = {
    x86_64-linux = {
      platform = "manylinux2014_x86_64";
      hash = "sha256-f3+yCaLfN18UHo0OEy52RLjo7+OFW3D0hE+/sU6mZyw=";
    };
    aarch64-linux = {
      platform = "manylinux2014_aarch64";
      hash = "sha256-A7Bc4j0wnkwtFia/lDQ+Oj6eJvpMDSynC2b4a4TJfyY=";
    };
  };
  inherit (stdenv.hostPlatform) system;
in
ray.overridePythonAttrs (old: {
  inherit version;
  src = fetchPypi {
    pname = "ray";
    inherit version;
    format = "wheel";
    dist = "cp313";
    python = "cp313";
    abi = "cp313";
    inherit
      (wheels.${system}
        or (throw "Ray ${version} has no wheel for ${system}; use one of: ${toString (lib.attrNames wheels)}")
      )
      platform
      hash
      ;
  };
  # The wheel asks for newer releases of a few dashboard libraries than nixpkgs may have.
  pythonRelaxDeps = true;
  meta = old.meta // {
    mainProgram = "ray";
    # The hashes above are those of the wheels for one version of Python.
    broken = python.pythonVersion or "3.13" != "3.13";
  };
})
