# The same machine in a cluster whose head keeps what it knows on its disk.
{
  specialisation.embedded.configuration.services.ray.faultTolerance.storage = "embedded";
}
