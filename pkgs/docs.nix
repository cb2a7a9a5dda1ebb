# The options of services.ray as a page, generated from their declarations.
{
  lib,
  nixosOptionsDoc,
  runCommand,
  pkgs,
}:
let
  # Options alone: what they do is not evaluated, so neither is the rest of NixOS.
  evaluated = lib.evalModules {
    modules = [ ../modules/ray/options.nix ];
    specialArgs = { inherit pkgs; };
  };
  root = toString ../.;
  documentation = nixosOptionsDoc {
    options = removeAttrs evaluated.options [ "_module" ];
    transformOptions =
      option:
      option
      // {
        declarations = map (path: lib.removePrefix "${root}/" (toString path)) option.declarations;
      };
  };
in
runCommand "ray-nixos-options" { passthru = { inherit documentation; }; } ''
  install -D --mode=444 ${documentation.optionsCommonMark} $out/share/doc/ray-nixos/options.md
  install -D --mode=444 ${documentation.optionsJSON}/share/doc/nixos/options.json $out/share/doc/ray-nixos/options.json
''
