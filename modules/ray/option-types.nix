# The kinds of options that come more than once.
{ lib }:
let
  inherit (lib) mkOption types;
in
{
  port =
    default: description:
    mkOption {
      type = types.port;
      inherit default description;
    };

  # A path, also one that is there at run time only; asserts.nix refuses secrets in the Nix store.
  secretFile =
    example: description:
    mkOption {
      type = types.nullOr (types.either types.path types.str);
      default = null;
      inherit example description;
      apply = path: if path == null then null else toString path;
    };
}
