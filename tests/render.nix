# What the configuration of a machine comes to, as far as this project decides it: { PATH = text; }
# of an overlay over a root file system. A path that ends in .wants/UNIT or .requires/UNIT stands
# for a link to that unit.
{ lib }:
config:
let
  inherit (lib)
    concatMapStrings
    concatStringsSep
    elem
    filterAttrs
    hasPrefix
    mapAttrs'
    mapAttrsToList
    nameValuePair
    optionalAttrs
    optionalString
    ;
  cfg = config.services.ray;
  redis = import ./render-redis.nix { inherit lib; } config;

  # Hashes and versions of packages are not ours, and differ between two revisions of nixpkgs.
  normalise =
    text:
    let
      parts = builtins.split "${builtins.storeDir}/[0-9a-z]{32}-([^/ \":]+)" (
        builtins.unsafeDiscardStringContext text
      );
      name = full: lib.removeSuffix "-interactive" (builtins.parseDrvName full).name;
    in
    concatMapStrings (
      part: if builtins.isList part then "/nix/store/${name (builtins.head part)}" else part
    ) parts;

  # A switch reloads a unit when these have changed: they are in a file of the store, whose name says
  # nothing without its hash.
  withTriggers =
    name: text:
    let
      service = lib.removeSuffix ".service" name;
      triggers = config.systemd.services.${service}.reloadTriggers or [ ];
    in
    lib.replaceStrings [ "/nix/store/X-Reload-Triggers-${service}" ] [ (toString triggers) ] text;

  units = filterAttrs (name: _: hasPrefix "ray-" name) config.systemd.units;
  links =
    lib.concatMapAttrs (
      name: unit:
      lib.listToAttrs (
        map (target: nameValuePair "etc/systemd/system/${target}.wants/${name}" "../${name}") unit.wantedBy
        ++ map (
          target: nameValuePair "etc/systemd/system/${target}.requires/${name}" "../${name}"
        ) unit.requiredBy
      )
    ) units
    // lib.optionalAttrs (redis != { }) {
      "etc/systemd/system/multi-user.target.wants/redis-ray.service" = "../redis-ray.service";
    };

  members = filterAttrs (
    _: user: user.group == cfg.group || elem cfg.group user.extraGroups
  ) config.users.users;
  sysusers =
    "g ${cfg.group} -\n"
    + concatStringsSep "" (
      mapAttrsToList (
        name: user:
        ''u ${name} -${
          optionalString (user.group == cfg.group) ":${cfg.group}"
        } "${user.description}" ${user.home}''
        + "\n"
        + optionalString (user.group != cfg.group) "m ${name} ${cfg.group}\n"
      ) members
    );

  places = lib.concatMapAttrs (
    name: paths: optionalAttrs (hasPrefix "ray-" name) paths
  ) config.systemd.tmpfiles.settings;
  directories = concatStringsSep "" (
    mapAttrsToList (path: { d, ... }: "d ${path} ${d.mode} ${d.user} ${d.group} -\n") places
  );

  variables = filterAttrs (
    name: _: hasPrefix "RAY" name || hasPrefix "COGNITIVE" name
  ) config.environment.variables;
  environments = lib.filter (
    package: hasPrefix "ray-env" package.name
  ) config.environment.systemPackages;
  profile =
    concatStringsSep "" (
      mapAttrsToList (name: value: "export ${name}=${lib.escapeShellArg value}\n") variables
    )
    + concatMapStrings (package: "export PATH=${package}/bin:$PATH\n") environments;

  # The last systemd.services text in a unit may end without a newline, a file does not.
  line = text: if lib.hasSuffix "\n" text then text else text + "\n";
in
lib.mapAttrs (path: text: withTriggers (baseNameOf path) (normalise (line text))) (
  mapAttrs' (name: unit: nameValuePair "etc/systemd/system/${name}" unit.text) units
  // mapAttrs' (
    name: unit: nameValuePair "etc/systemd/network/${name}" unit.text
  ) config.systemd.network.units
  // {
    "etc/fstab" =
      "tmpfs /dev/shm tmpfs nosuid,nodev,strictatime,mode=1777,size=${config.boot.devShmSize} 0 0";
    "etc/nftables.d/ray.nft" = config.networking.firewall.extraInputRules;
  }
  // optionalAttrs cfg.enable {
    "etc/sysusers.d/ray.conf" = sysusers;
    "etc/profile.d/ray.sh" = profile;
  }
  // lib.concatMapAttrs (
    name: file: optionalAttrs (hasPrefix "ray/" name) { "etc/${name}" = file.text; }
  ) config.environment.etc
  // optionalAttrs (places != { }) { "etc/tmpfiles.d/ray.conf" = directories; }
  // redis
)
// links
