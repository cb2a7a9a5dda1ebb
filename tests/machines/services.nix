# The same machine with all services of the package, and what must live beside them; and the same
# again after somebody has moved the tasks, which stay where they are.
{ lib, ... }:
let
  served = {
    services.ray = {
      serve.bundled.enable = true;
      bootstrap.enable = true;
    };
  };
in
{
  specialisation = {
    services.configuration = served;
    services-moved.configuration = lib.mkMerge [
      served
      { services.ray.cognition.tasks = "/srv/tasks/tasks.db"; }
    ];
  };
}
