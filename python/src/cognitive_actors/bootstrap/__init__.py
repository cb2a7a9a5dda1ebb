"""What must live on a cluster beside the applications of Ray Serve: brought there, and tried with one task."""
