# The same machine in a cluster whose head keeps nothing of what it knows.
{
  specialisation.forgetful.configuration.services.ray.faultTolerance.storage = "none";
}
