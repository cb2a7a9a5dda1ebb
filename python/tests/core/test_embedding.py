"""Embeddings of text: the features by hand, one vector per text wherever it is made, and what is similar to what."""

from __future__ import annotations

import hashlib
import math
import subprocess
import sys
import unicodedata
from collections import Counter

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cognitive_actors.core.embedding import TextEmbedding, features, normalise, similarity, words

quick = settings(max_examples=60)
EMBED = TextEmbedding()
#: All of Unicode, lone surrogates included: JSON can carry them.
TEXT = st.text(st.characters(exclude_categories=()), max_size=40)
PLAIN = st.text("abcde fg", max_size=60)


def cosine(a: str, b: str, embed: TextEmbedding = EMBED) -> float:
    return float(similarity(embed([a]), embed([b])))


def test_the_words_and_grams_by_hand() -> None:
    assert list(words("a+b c2, d")) == ["a", "+", "b", "c2", "d"]
    assert list(words("e\u0301a 🙂🙂 x_y-z!")) == ["e\u0301a", "🙂", "🙂", "x", "y", "z"]
    marked = "\x02cat\x03"
    grams = [marked[0:3], marked[1:4], marked[2:5], marked[0:4], marked[1:5]]
    assert list(features("Cat", 3, 4)) == ["w\x1fcat", *("g\x1f" + g for g in grams)]
    # A single character is one gram of three with its marks, and none of four.
    assert list(features("I", 3, 3)) == ["w\x1fi", "g\x1f\x02i\x03"] and list(features("I", 4, 4)) == ["w\x1fi"]


def test_the_vector_by_hand() -> None:
    """Two features, one of them twice: weights 1 + ln 2 and 1 in the places and with the signs of their hashes."""
    embed = TextEmbedding(64, shortest=9, longest=9)
    expected = torch.zeros(64, dtype=torch.float64)
    for word, weight in (("ab", 1 + math.log(2)), ("cd", 1.0)):
        digest = hashlib.blake2b(b"w\x1f" + word.encode(), digest_size=8, person=b"text-embedding-1").digest()
        number = int.from_bytes(digest, "little")
        expected[(number >> 1) % 64] += weight if number % 2 == 0 else -weight
    torch.testing.assert_close(embed(["ab cd AB"])[0], expected / expected.norm())
    assert int((expected != 0).sum()) == 2


def test_these_places_never_change() -> None:
    """Stored vectors are compared with new ones: the hash of another version would be another method."""
    embed = TextEmbedding(1000, shortest=9, longest=9)
    found = [(int(x.abs().argmax()), float(x.sum())) for x in embed(["rain", "Wetter", "storm", "雨"])]
    assert found == [(861, 1.0), (723, 1.0), (897, -1.0), (901, 1.0)]


def test_another_process_makes_the_same_vector() -> None:
    """Python's own hash of strings differs from process to process."""
    code = (
        "from cognitive_actors.core.embedding import TextEmbedding;"
        "print(TextEmbedding(32)(['the quick brown fox']).tolist())"
    )
    made = subprocess.run(
        [sys.executable, "-c", code],
        env={"PYTHONHASHSEED": "1", "PYTHONPATH": ":".join(sys.path)},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert made == f"{TextEmbedding(32)(['the quick brown fox']).tolist()}\n"


@given(st.lists(TEXT, max_size=6), st.integers(1, 300))
@quick
def test_a_row_is_of_length_one_or_empty_and_its_neighbours_do_not_matter(texts: list[str], dimension: int) -> None:
    embed = TextEmbedding(dimension)
    together = embed(texts)
    assert together.shape == (len(texts), dimension) and together.dtype == torch.float64
    for text, row in zip(texts, together, strict=True):
        assert torch.equal(embed([text])[0], row)
        length = float(row.norm())
        assert length == pytest.approx(1, abs=1e-12) or (length == 0 and (dimension < 300 or not list(features(text))))


@given(TEXT)
@quick
def test_the_normal_form_is_one(text: str) -> None:
    form = normalise(text)
    assert normalise(form) == form == unicodedata.normalize("NFKC", form)
    assert normalise(unicodedata.normalize("NFD", text)) == form == normalise(unicodedata.normalize("NFKC", text))


def test_the_normal_form_of_every_character_is_stable() -> None:
    characters = map(chr, range(0, sys.maxunicode + 1, 7))
    assert not [c for c in characters if normalise(normalise(c)) != normalise(c)]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Straße", "STRASSE"), ("ﬁnal", "final"), ("caf\u00e9", "cafe\u0301"), ("ｆｕｌｌ", "full"), ("Ⅷ", "viii"),
        ("co\u00adoperate", "cooperate"), ("\ufeffstart", "start"), ("ΣΊΣΥΦΟΣ", "σίσυφος"), ("❤\ufe0f", "❤"),
        ("tab\tand  space", "TAB and\u00a0space!"), ("\ud800x", "x"),
    ],
)  # fmt: skip
def test_ways_to_write_the_same(one: str, other: str) -> None:
    assert torch.equal(EMBED([one]), EMBED([other])) and float(EMBED([one]).norm()) == pytest.approx(1)


@pytest.mark.parametrize("text", ["", " \t\n", "...!?", "\u00ad\u200b", "\x00", "\ud800"])
def test_a_text_without_a_word_is_zero_and_similar_to_nothing(text: str) -> None:
    assert not EMBED([text]).any() and cosine(text, "word") == 0 == cosine(text, text)


def test_no_texts_are_no_rows() -> None:
    assert EMBED([]).shape == (0, 512) and similarity(EMBED([]), EMBED(["a"])).shape == (0, 1)


@pytest.mark.parametrize(
    ("text", "near", "far"),
    [
        ("the sensor reports heavy rain", "heavy rain is reported by a sensor", "the market opens on monday"),
        ("temperature", "temperatures", "moisture"),
        ("restart the worker node", "restart the worker nodes", "restart the head"),
        ("neuromodulator", "neuromodulaotr", "workspace"),
        ("naïve approach", "naive approach", "clever plan"),
        ("rain rain rain", "rain", "train"),
        ("Straßenbahn", "strassenbahnen", "eisenbahn"),
    ],
)
def test_shared_wording_is_nearer(text: str, near: str, far: str) -> None:
    assert cosine(text, near) > cosine(text, far) + 0.05
    assert cosine(text, text) == pytest.approx(1, abs=1e-12)


@given(st.lists(st.text("abcdefghij", min_size=1, max_size=6), min_size=1, max_size=8), st.randoms())
@quick
def test_the_order_of_words_means_nothing(parts: list[str], random: object) -> None:
    shuffled = parts[:]
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    torch.testing.assert_close(EMBED([" ".join(shuffled)]), EMBED([" ".join(parts)]), rtol=0, atol=1e-12)


# Always the same texts: with others two features might meet.
@given(PLAIN, PLAIN)
@settings(max_examples=40, derandomize=True)
def test_cosines_are_those_of_the_bags_of_features(a: str, b: str) -> None:
    """In so many dimensions that hardly two features meet; exact but for those that do."""
    wide = TextEmbedding(1 << 18)
    bags = [Counter(features(x)) for x in (a, b)]
    weights = [{f: 1 + math.log(n) for f, n in bag.items()} for bag in bags]
    lengths = [math.sqrt(sum(w * w for w in x.values())) for x in weights]
    inner = sum(w * weights[1].get(f, 0.0) for f, w in weights[0].items())
    assert cosine(a, b, wide) == pytest.approx(inner / (lengths[0] * lengths[1]) if all(lengths) else 0, abs=0.02)


def test_the_sign_makes_the_inner_product_unbiased() -> None:
    """Of 2000 pairs of disjoint bags the cosines have mean zero and a spread of 1/sqrt(dimension)."""
    embed = TextEmbedding(64, shortest=9, longest=9)
    one = embed([" ".join(f"a{i}x{j}" for j in range(30)) for i in range(2000)])
    other = embed([" ".join(f"b{i}x{j}" for j in range(30)) for i in range(2000)])
    cosines = (one * other).sum(dim=1)
    assert abs(float(cosines.mean())) < 4 / math.sqrt(64 * 2000)
    assert float(cosines.std()) == pytest.approx(1 / 8, rel=0.1)


def test_what_is_refused() -> None:
    with pytest.raises(TypeError, match="texts is a single text; write a list"):
        EMBED("abc")
    with pytest.raises(ValueError, match="dimension is 0; write"):
        TextEmbedding(0)
    with pytest.raises(ValueError, match="n-grams are 4 to 3 long; write"):
        TextEmbedding(shortest=4, longest=3)
    with pytest.raises(ValueError, match=r"embeddings have shapes \(1, 512\) and \(1, 64\)"):
        similarity(EMBED(["a"]), TextEmbedding(64)(["a"]))
