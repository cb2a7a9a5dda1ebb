"""HTTP services on Ray Serve: stateless replicas in front of named actors that own the state."""
