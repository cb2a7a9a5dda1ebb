# Options only: language models on llama.cpp.
{ lib, pkgs, ... }:
let
  inherit (lib)
    literalExpression
    mkEnableOption
    mkOption
    types
    ;
  inherit (import ./option-types.nix { inherit lib; }) port secretFile;

  rpcServer = {
    options = {
      port = port 50052 "Port that it listens on.";
      threads = mkOption {
        type = types.nullOr types.ints.positive;
        default = null;
        description = "Threads of the device `CPU`; null: one.";
      };
      cache = mkOption {
        type = types.bool;
        default = false;
        description = ''
          Whether it keeps the tensors that it is sent, in `/var/cache/ray-llama-rpc-DEVICE`, so that
          a model that is loaded again need not cross the network. Nothing removes them.
        '';
      };
    };
  };
in
{
  options.services.ray.llama = {
    enable = mkEnableOption ''
      this node's part in serving language models: coordinators, each a `llama-server`, and devices
      that coordinators of any node may spread a model over'';

    package = mkOption {
      type = types.package;
      default = pkgs.ray-llama or (pkgs.callPackage ../../pkgs/ray-llama.nix { });
      defaultText = literalExpression "pkgs.ray-llama";
      description = ''
        llama.cpp with `llama-server` and `llama-rpc-server`, of the same build on all machines of the
        cluster. For GPUs of NVIDIA the default is one with CUDA, which is unfree, and for those of
        AMD one with ROCm, see {option}`services.ray.gpu.vendor`.
      '';
    };

    rpcServers = mkOption {
      type = types.attrsOf (types.submodule rpcServer);
      default = { };
      example = {
        CUDA0 = { };
        CUDA1.port = 50053;
      };
      description = ''
        Devices of this node that coordinators may use, by llama.cpp's name of each: `CPU`, `CUDA0`,
        `ROCm0`. Each is the unit `ray-llama-rpc-DEVICE`, in lower case, at
        {option}`services.ray.nodeAddress`. The protocol knows neither a password nor encryption, and
        {option}`services.ray.tls` does not cover it: who reaches the port can read what is computed
        and end the server. It is open on {option}`services.ray.interfaces` to
        {option}`services.ray.allowedSubnets`.
      '';
    };

    coordinators = mkOption {
      type = types.ints.unsigned;
      default = 1;
      description = "Coordinators that may run on this node at once; 0: none, it offers devices alone.";
    };

    basePort = port 18080 ''
      First port of coordinators (`LLAMA_BASE_PORT`), each of which takes one. They listen on loopback.
    '';

    modelsDirectory = mkOption {
      type = types.nullOr (types.strMatching "/.*");
      default = "/var/lib/ray-models";
      description = ''
        Directory whose `*.gguf` are models of this node, by the names of the files. It is made for
        the group of {option}`services.ray.group` to read, where it is missing. null: none.
      '';
    };

    models = mkOption {
      type = types.attrsOf types.path;
      default = { };
      example = {
        llama-70b = "/srv/models/Llama-3.3-70B-Instruct-Q4_K_M.gguf";
      };
      description = ''
        Model files of this node elsewhere, by the names that requests have for them. One that is
        written without quotes is copied into the Nix store.
      '';
      apply = lib.mapAttrs (_: path: "${path}");
    };

    redis = {
      url = mkOption {
        type = types.nullOr types.nonEmptyStr;
        default = null;
        example = "redis://10.42.0.1:6391";
        description = ''
          Redis that is told of the node's RPC servers as well, under `sollol:rpc:node:ADDRESS:PORT`,
          for programs outside the cluster. Everyone on the machine can read the value: no secrets.
        '';
      };
      passwordFile = secretFile "/run/secrets/llama-redis-password" "File with its password, outside the Nix store.";
    };
  };
}
