# The same machine with TLS between the nodes.
{
  specialisation.tls.configuration.services.ray.tls = {
    enable = true;
    certificateFile = "/var/lib/secrets/node.pem";
    keyFile = "/var/lib/secrets/node.key";
    caFile = "/var/lib/secrets/ca.pem";
  };
}
