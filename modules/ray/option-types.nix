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

  # A file that may lie in the Nix store, and is copied there when it is written as a path.
  modelFile =
    description:
    mkOption {
      type = types.nullOr (types.either types.path types.str);
      default = null;
      example = lib.literalExpression "./umbrella.yaml";
      inherit description;
      apply = path: if path == null then null else "${path}";
    };
}
