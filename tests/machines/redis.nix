# The same machine in a cluster whose head keeps what it knows in Redis: one of its own, or one on
# another machine.
{
  specialisation = {
    redis.configuration.services.ray.faultTolerance.storage = "redis";
    redis-elsewhere.configuration.services.ray.faultTolerance = {
      storage = "redis";
      redis = {
        address = "10.42.0.3:10190";
        passwordFile = "/var/lib/secrets/redis-password";
        tls = {
          enable = true;
          caFile = "/var/lib/secrets/redis-ca.pem";
          certificateFile = "/var/lib/secrets/redis-client.pem";
          keyFile = "/var/lib/secrets/redis-client.key";
        };
      };
    };
  };
}
