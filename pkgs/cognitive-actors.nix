{
  lib,
  buildPythonPackage,
  hatchling,
  ray,
  torch,
  numpy,
  pyarrow,
  pyyaml,
  fsspec,
  matplotlib,
  typer,
  rich,
  psutil,
  nvidia-ml-py,
  pytestCheckHook,
  hypothesis,
  redis,
  sqlalchemy,
  psycopg,
  aiohttp,
  httpx,
  postgresql,
}:
buildPythonPackage {
  pname = "cognitive-actors";
  version = "0.1.0";
  pyproject = true;
  src = lib.fileset.toSource {
    root = ../python;
    fileset = lib.fileset.unions [
      ../python/pyproject.toml
      ../python/src
      ../python/tests
      ../python/examples
    ];
  };
  build-system = [ hatchling ];
  dependencies = [
    ray
    torch
    numpy
    pyarrow
    pyyaml
    fsspec
    matplotlib
    typer
    rich
    psutil
  ];
  optional-dependencies = {
    serve = ray.optional-dependencies.serve ++ [ sqlalchemy ];
    dispatch = [ sqlalchemy ];
    postgres = [ psycopg ];
    llama = [
      aiohttp
      nvidia-ml-py
    ];
  };
  nativeCheckInputs = [
    pytestCheckHook
    hypothesis
    redis
    sqlalchemy
    psycopg
    aiohttp
    httpx
    postgresql
  ]
  ++ ray.optional-dependencies.default
  ++ ray.optional-dependencies.serve;
  pythonImportsCheck = [ "cognitive_actors" ];
  # Ray's socket names must fit into 107 bytes, and the tests of the command look for it on PATH.
  preCheck = ''
    export HOME=$(mktemp --directory) TMPDIR=/tmp PATH=$out/bin:$PATH
  '';
  meta = {
    description = "Populations of neuromodulated active-inference agents with a global workspace, on Ray";
    license = lib.licenses.mit;
    mainProgram = "cognitive";
    platforms = lib.platforms.linux;
  };
}
