# The one Python environment of a node: Ray with its dashboard, jobs, client server and Serve,
# cognitive_actors, and what the user adds. All machines of a cluster need the same one.
{
  lib,
  python3,
  extraPythonPackages ? (_: [ ]),
}:
let
  inherit (python3.pkgs) ray;
in
(python3.withPackages (
  ps:
  [
    ps.ray
    ps.cognitive-actors
  ]
  ++ ps.ray.optional-dependencies.default
  ++ ps.ray.optional-dependencies.client
  ++ ps.ray.optional-dependencies.serve
  ++ ps.cognitive-actors.optional-dependencies.dispatch
  ++ ps.cognitive-actors.optional-dependencies.postgres
  ++ ps.cognitive-actors.optional-dependencies.llama
  ++ extraPythonPackages ps
)).overrideAttrs
  (_: {
    name = "ray-env-${ray.version}";
    passthru = { inherit ray python3; };
    meta = {
      description = "Ray ${ray.version} and cognitive_actors on Python ${python3.pythonVersion}";
      mainProgram = "cognitive";
      platforms = lib.platforms.linux;
    };
  })
