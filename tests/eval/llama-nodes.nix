# Nodes that the tests of language models look at: a worker, one that serves them, and one with all that it can have.
rec {
  joined = {
    role = "worker";
    headAddress = "10.0.0.1";
    nodeAddress = "10.0.0.2";
    auth.tokenFile = "/run/secrets/token";
    interfaces = [ "eth7" ];
    allowedSubnets = [ "10.0.0.0/24" ];
  };
  serving =
    llama:
    joined
    // {
      llama = llama // {
        enable = true;
      };
    };
  two = serving {
    rpcServers = {
      CPU = {
        threads = 4;
        cache = true;
      };
      CUDA0.port = 50053;
    };
    coordinators = 2;
    models = {
      small = "/srv/models/small.gguf";
      stored = ./llama.nix;
    };
    redis = {
      url = "redis://10.0.0.9:6391";
      passwordFile = "/run/secrets/redis";
    };
  };
}
