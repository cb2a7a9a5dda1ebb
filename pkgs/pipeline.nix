# `nix run`: the main job on the example data, as `make run` does it without Nix.
{
  writeShellApplication,
  cognitive-actors,
}:
writeShellApplication {
  name = "cognitive-pipeline";
  runtimeInputs = [ cognitive-actors ];
  text = ''
    examples=${../python/examples}
    exec cognitive run "$examples/seattle-weather.jsonl" --model "$examples/umbrella.yaml" \
      --out results --time-scale 0.001 --salience-threshold 0.2 "$@"
  '';
}
