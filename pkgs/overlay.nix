# Adds ray-env, ray-node, ray-llama and cognitive-actors, and replaces ray, for whoever uses this overlay.
final: prev: {
  pythonPackagesExtensions = prev.pythonPackagesExtensions ++ [
    (pyfinal: pyprev: {
      ray = pyfinal.callPackage ./ray.nix { inherit (pyprev) ray; };
      cognitive-actors = pyfinal.callPackage ./cognitive-actors.nix { };
    })
  ];
  cognitive-actors = final.python3.pkgs.toPythonApplication final.python3.pkgs.cognitive-actors;
  ray-llama = final.callPackage ./ray-llama.nix { };
  ray-env = final.callPackage ./ray-env.nix { };
  ray-node = final.callPackage ./ray-node/package.nix { };
}
