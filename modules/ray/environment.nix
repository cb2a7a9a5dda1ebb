# The Python environment of a machine: cfg.package with the user's additions.
cfg:
if cfg.extraPythonPackages == null then
  cfg.package
else
  cfg.package.override { inherit (cfg) extraPythonPackages; }
