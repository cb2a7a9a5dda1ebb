"""llama.cpp's model servers on the cluster: what nodes have, where a coordinator runs, and what it says."""
