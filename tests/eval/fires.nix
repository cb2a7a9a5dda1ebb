# What an assertion says, for tests.
{ lib, messages }:
rec {
  # The messages of a configuration, each reduced to whether it contains all of the words.
  says =
    words: config:
    let
      found = messages config;
    in
    {
      count = lib.length found;
      words = lib.filter (word: !lib.any (lib.hasInfix word) found) words;
    };
  fires = words: config: {
    expr = says words config;
    expected = {
      count = 1;
      words = [ ];
    };
  };
}
