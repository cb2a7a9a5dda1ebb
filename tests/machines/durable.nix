# A machine in a cluster whose services survive the death of any other: what they know is in a Redis
# that a scenario runs on the second worker, and each node takes requests. Not a specialisation: a
# machine that loses its power must come back as one of these.
{ config, lib, ... }:
{
  services.ray = lib.mkMerge [
    {
      cognition = {
        checkpointDirectory = "redis://10.42.0.3:10190";
        redisPasswordFile = "/var/lib/secrets/checkpoints-password";
      };
    }
    (lib.mkIf (config.services.ray.role == "head") {
      serve = {
        bundled.enable = true;
        settings.proxy_location = "EveryNode";
      };
      bootstrap.enable = true;
    })
  ];
}
