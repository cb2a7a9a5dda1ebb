# The flat options of a configuration.nix as Ray's users write it.
{ ray, messages, ... }:
let
  guide = {
    dashboardPort = 8265;
    redisPort = 6379;
    nodeManagerPort = 6378;
    objectManagerPort = 6379;
  };
  mended = ray (guide // { objectManagerPort = 6377; });
in
{
  its-clash-is-named = {
    expr = messages (ray guide);
    expected = [
      (
        "services.ray: services.ray.ports.gcs (6379) and services.ray.ports.objectManager (6379) use the same port on machine. "
        + "Write services.ray.ports.objectManager = 6380;"
      )
    ];
  };
  without-it-everything-evaluates = {
    expr = {
      inherit (mended.services.ray.ports)
        dashboard
        gcs
        nodeManager
        objectManager
        ;
      messages = messages mended;
      builds = builtins.isString mended.system.build.toplevel.drvPath;
    };
    expected = {
      dashboard = 8265;
      gcs = 6379;
      nodeManager = 6378;
      objectManager = 6377;
      messages = [ ];
      builds = true;
    };
  };
}
