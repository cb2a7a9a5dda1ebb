# The Python environment of a machine: cfg.package with the user's additions.
cfg:
if cfg.package ? override && cfg.package ? python3 && cfg.extraPythonPackages cfg.package.python3.pkgs != [ ] then
  cfg.package.override { inherit (cfg) extraPythonPackages; }
else
  cfg.package
