# Options only: the documentation is generated from this file and those that it imports. What they do
# is in the files beside it.
{ lib, pkgs, ... }:
let
  inherit (lib)
    literalExpression
    mkEnableOption
    mkOption
    types
    ;

  inherit (import ./option-types.nix { inherit lib; }) port secretFile;
  overlay = import ../../pkgs/overlay.nix;

  count =
    description:
    mkOption {
      type = types.nullOr types.ints.unsigned;
      default = null;
      inherit description;
    };

  bytes =
    description:
    mkOption {
      type = types.nullOr types.ints.positive;
      default = null;
      example = literalExpression "8 * 1024 * 1024 * 1024";
      inherit description;
    };
in
{
  imports = [
    ./options-bootstrap.nix
    ./options-cognition.nix
    ./options-fault-tolerance.nix
    ./options-jobs.nix
    ./options-llama.nix
    ./options-serve.nix
  ];

  options.services.ray = {
    enable = mkEnableOption "this machine's part of a Ray cluster";

    role = mkOption {
      type = types.enum [
        "head"
        "worker"
        "client"
      ];
      default = "head";
      description = ''
        What this machine is. The head keeps the cluster's state, and runs tasks as well; there is
        one. A worker runs tasks for the head at {option}`services.ray.headAddress`. A client runs
        no Ray node; it has `ray` and `cognitive` on its PATH, wired to the head.
      '';
    };

    clusterName = mkOption {
      type = types.strMatching "[a-z0-9]([a-z0-9-]*[a-z0-9])?";
      default = "ray";
      description = "Name of the cluster. Every node carries it as the label `ray-nixos/cluster`.";
    };

    namespace = mkOption {
      type = types.nonEmptyStr;
      default = "cognitive";
      description = ''
        Ray namespace of named actors, for drivers that do not name one (`RAYNIXOS_NAMESPACE`).
      '';
    };

    headAddress = mkOption {
      type = types.nullOr types.nonEmptyStr;
      default = null;
      example = "10.42.0.1";
      description = ''
        Address or host name of the head. A worker and a client need it; a head does not.
      '';
    };

    nodeAddress = mkOption {
      type = types.nullOr types.nonEmptyStr;
      default = null;
      example = "10.42.0.2";
      description = ''
        Address of this node that the other nodes reach it by. A worker needs it. On a head the
        default is 127.0.0.2, a cluster of one machine. Ray's services listen on all addresses as
        soon as it is not a loopback address: the firewall decides who reaches them, see
        {option}`services.ray.interfaces`.
      '';
    };

    package = mkOption {
      type = types.package;
      default = pkgs.ray-env or (pkgs.extend overlay).ray-env;
      defaultText = literalExpression "pkgs.ray-env";
      description = ''
        Python environment with Ray and `cognitive_actors`. All machines of a cluster need the same
        versions of Ray and Python.
      '';
    };

    extraPythonPackages = mkOption {
      type = types.nullOr (types.functionTo (types.listOf types.package));
      default = null;
      example = literalExpression "ps: [ ps.scikit-learn ]";
      description = ''
        Python packages that tasks and actors can import. Wheels that a runtime environment
        downloads do not find their libraries on NixOS; name the packages here instead.
      '';
    };

    supervisor = mkOption {
      type = types.package;
      default = pkgs.ray-node or (pkgs.callPackage ../../pkgs/ray-node/package.nix { });
      defaultText = literalExpression "pkgs.ray-node";
      internal = true;
      description = "The program that is the unit's main process.";
    };

    user = mkOption {
      type = types.nonEmptyStr;
      default = "ray";
      description = "User that the node runs as. Made if it is `ray`.";
    };

    group = mkOption {
      type = types.nonEmptyStr;
      default = "ray";
      description = ''
        Group of the node. Made if it is `ray`. Its members may read the token, and so use the
        cluster.
      '';
    };

    environment = mkOption {
      type = types.attrsOf types.str;
      default = { };
      example = {
        OMP_NUM_THREADS = "1";
      };
      description = ''
        Environment variables of the node and of all tasks on it. Everyone on the machine can read
        them: no secrets.
      '';
    };

    extraFlags = mkOption {
      type = types.listOf types.str;
      default = [ ];
      example = [ "--log-style=record" ];
      description = ''
        More arguments for `ray start`. Everyone on the machine can read them: no secrets.
      '';
    };

    restartIfChanged = mkOption {
      type = types.bool;
      default = true;
      description = ''
        Whether `nixos-rebuild switch` restarts the node when its configuration has changed. With
        false it goes on with the old one until the next restart of the unit or the machine.
      '';
    };

    healthTimeout = mkOption {
      type = types.ints.positive;
      default = 20;
      description = ''
        Seconds for which a node's health service may be silent before the node is restarted.
      '';
    };

    keepSessions = mkOption {
      type = types.ints.unsigned;
      default = 5;
      description = "How many earlier starts keep their logs in `/var/lib/ray/s`.";
    };

    interfaces = mkOption {
      type = types.listOf types.nonEmptyStr;
      default = [ ];
      example = [ "cluster0" ];
      description = ''
        Network interfaces on which the firewall lets the cluster's ports in. No port is ever opened
        on all of them.
      '';
    };

    allowedSubnets = mkOption {
      type = types.listOf types.nonEmptyStr;
      default = [ ];
      example = [ "10.42.0.0/24" ];
      description = ''
        Subnets that may reach the cluster's ports on these interfaces; empty: all. Needs
        {option}`networking.nftables.enable`.
      '';
    };

    ports = {
      gcs = port 6379 "Global control service (GCS) of the head. Workers and clients need the same value.";
      client = port 10001 "Ray Client server of the head (`ray://`).";
      dashboard = port 8265 "Dashboard, Jobs API and Serve API of the head.";
      serve = port 8000 "HTTP of Serve applications.";
      nodeManager = port 6380 "Node manager of the raylet.";
      objectManager = port 6381 "Object manager of the raylet.";
      dashboardAgent = port 52365 "Dashboard agent of a node, HTTP.";
      dashboardAgentGrpc = port 52366 "Dashboard agent of a node, gRPC.";
      runtimeEnvAgent = port 52367 "Runtime environment agent of a node.";
      metrics = port 52368 "Metrics of a node, for Prometheus.";
      autoscalerMetrics = port 44217 "Metrics of the head's autoscaler.";
      dashboardMetrics = port 44227 "Metrics of the head's dashboard.";
      workers = {
        from = port 10002 "First port of worker processes and drivers.";
        to = port 10199 "Last port of worker processes and drivers. Each process takes one.";
      };
    };

    resources = {
      cpus = count "CPUs that this node offers; null: as many as it has.";
      gpus = count ''
        GPUs that this node offers; null: as many as Ray sees. With a number, the node does not
        start if Ray sees fewer.
      '';
      memory = bytes "Bytes of memory that tasks may reserve; null: what Ray finds free.";
      objectStore = bytes ''
        Bytes of the shared-memory object store; null: 30 % of the memory, at most what `/dev/shm`
        holds. With a number, {option}`boot.devShmSize` follows it.
      '';
      custom = mkOption {
        type = types.attrsOf (types.either types.ints.unsigned types.float);
        default = { };
        example = {
          sensor = 2;
        };
        description = "Custom resources, by name, with the amount that this node offers.";
      };
      labels = mkOption {
        type = types.attrsOf (types.strMatching "[A-Za-z0-9._-]*");
        default = { };
        example = {
          rack = "b4";
        };
        description = "Labels of this node for label selectors.";
      };
    };

    auth = {
      enable = mkOption {
        type = types.bool;
        default = true;
        description = ''
          Whether the cluster asks for a token. Without it, everyone who reaches a port runs code as
          the user of the node.
        '';
      };
      tokenFile = secretFile "/run/secrets/ray-token" ''
        File with the token of the cluster, the same on all its machines, outside the Nix store. A
        head that is given none makes one in `/var/lib/ray/token`, readable by the group; workers
        and clients must be given one. On machines where people use the cluster, let the group of
        {option}`services.ray.group` read it.
      '';
    };

    tls = {
      enable = mkEnableOption "mutual TLS of all that speaks gRPC; the dashboard and metrics speak HTTP";
      certificateFile = secretFile "/run/secrets/ray-node.pem" ''
        Certificate of this machine, for both server and client authentication, whose alternative
        names have {option}`services.ray.nodeAddress`, 127.0.0.1 and localhost.
      '';
      keyFile = secretFile "/run/secrets/ray-node.key" "Private key of the certificate.";
      caFile = secretFile "/run/secrets/ray-ca.pem" "Certificate of the authority that signs the certificates of all machines of the cluster.";
    };

    dashboard = {
      enable = mkOption {
        type = types.bool;
        default = true;
        description = ''
          Whether the head runs the dashboard, and with it the Jobs API and the Serve API.
        '';
      };
      address = mkOption {
        type = types.nonEmptyStr;
        default = "127.0.0.1";
        example = "10.42.0.1";
        description = ''
          Address that the dashboard listens on. It speaks HTTP without encryption, tokens included:
          leave it on loopback behind a reverse proxy or SSH, or give it an address of a network
          that you trust.
        '';
      };
    };

    client.openFirewall = mkOption {
      type = types.bool;
      default = true;
      description = ''
        Whether the head's Ray Client server is reachable on {option}`services.ray.interfaces`.
      '';
    };

    metrics.openFirewall = mkOption {
      type = types.bool;
      default = false;
      description = ''
        Whether a node's metrics are reachable on {option}`services.ray.interfaces`. Ray serves them
        to everyone who asks, without a token.
      '';
    };

    drain.deadline = mkOption {
      type = types.nullOr types.ints.unsigned;
      default = null;
      example = 300;
      description = ''
        Seconds that running tasks are given to finish when the node is stopped; it takes no new
        ones meanwhile. null: 30 on a worker, 0 on the head, whose end ends the cluster's jobs
        anyway.
      '';
    };

    gpu.vendor = mkOption {
      type = types.enum [
        "auto"
        "nvidia"
        "amd"
        "none"
      ];
      default = "auto";
      description = ''
        Whose GPUs the node may use. `auto`: those whose driver this machine's configuration enables
        already. `nvidia` and `amd` enable the driver. NVIDIA's is unfree: the machine has to allow
        it ({option}`nixpkgs.config.allowUnfree`) and to decide {option}`hardware.nvidia.open`.
      '';
    };
  };
}
