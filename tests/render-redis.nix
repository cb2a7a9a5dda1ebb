# The Redis that the head runs for itself, as files for a machine without nixpkgs. The unit of NixOS
# changes from one nixpkgs to the next; this stand-in has what this project decides of it, and
# prepares the configuration as that one does.
{ lib }:
config:
let
  inherit (lib) concatStringsSep;
  server = config.services.redis.servers.ray;
  unit = config.systemd.services.redis-ray;
  state = "/var/lib/redis-ray";
  run = "/run/redis-ray/nixos.conf";
in
lib.optionalAttrs (config.services.redis.servers ? ray) {
  "etc/redis-ray/settings.conf" = ''
    appendfsync ${server.appendFsync}
    appendonly ${if server.appendOnly then "yes" else "no"}
    bind ${server.bind}
    dir ${state}
    logfile ""
    maxmemory-policy ${server.settings.maxmemory-policy}
    port ${toString server.port}
    save ${if server.save == [ ] then "\"\"" else throw "render-redis.nix knows no schedule"}
    supervised systemd
  '';
  # The password is written at run time, from its file.
  "etc/redis-ray/prepare" = ''
    set -eu
    touch ${state}/redis.conf ${run}
    chown ${server.user}:${server.user} ${state}/redis.conf ${run}
    chmod 0600 ${state}/redis.conf ${run}
    [ -s ${state}/redis.conf ] || echo 'include "${run}"' > ${state}/redis.conf
    echo 'include "/etc/redis-ray/settings.conf"' > ${run}
    echo "requirepass $(cat ${server.requirePassFile})" >> ${run}
  '';
  "etc/systemd/system/redis-ray.service" = ''
    [Unit]
    After=network.target ${concatStringsSep " " (lib.remove "network.target" unit.after)}
    Description=Redis Server - redis-ray
    StartLimitIntervalSec=${toString unit.startLimitIntervalSec}

    [Service]
    ExecStart=${config.services.redis.package}/bin/redis-server ${state}/redis.conf
    ExecStartPre=+/bin/sh -c '. /etc/redis-ray/prepare'
    Group=${server.user}
    LockPersonality=true
    NoNewPrivileges=true
    PrivateTmp=true
    ProtectHome=true
    ProtectSystem=strict
    Restart=${unit.serviceConfig.Restart}
    RestartSec=${toString unit.serviceConfig.RestartSec}
    RuntimeDirectory=redis-ray
    RuntimeDirectoryMode=0750
    StateDirectory=redis-ray
    StateDirectoryMode=0700
    Type=notify
    UMask=0077
    User=${server.user}
  '';
  "etc/sysusers.d/redis-ray.conf" = ''u ${server.user} - "Redis of the Ray cluster" ${state}'' + "\n";
}
