"""Text as vectors, without a model and without chance: the same text is the same vector on every machine.

Signed feature hashing (Weinberger et al. 2009, Feature hashing for large scale multitask learning, ICML, section 2):
each feature adds its weight, with a sign of its own, to one place of the vector, both taken from a hash of the feature,
so that the inner product of two vectors is that of the two bags of features without bias, with a variance that falls
as 1/dimension. The features of a text, after :func:`normalise`, are

* its words: runs of letters, marks and digits, and each symbol (an emoji, a plus sign) by itself; punctuation, spaces
  and control characters separate;
* the n-grams of characters of each word between two boundary marks, as of ``<where>`` (Bojanowski et al. 2017, Trans
  ACL 5:135, section 3.2), which make inflected and misspelt words similar.

A feature that occurs f times weighs 1 + ln f (sublinear term frequency: Manning, Raghavan & Schuetze 2008, Introduction
to information retrieval, section 6.4.1), and the vector is scaled to length one, so that inner products are cosines.
The order of words, synonyms and other languages mean nothing to it: it measures shared wording, not shared meaning.
"""

from __future__ import annotations

import hashlib
import math
import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

__all__ = ["TextEmbedding", "features", "normalise", "similarity", "words"]

#: Separates the hashes of this method, and of later ones, from all others.
_PERSON = b"text-embedding-1"
#: Characters that no word holds: the boundaries of a word, and what kind a feature is of.
_START, _END, _WORD, _GRAM = "\x02", "\x03", "w\x1f", "g\x1f"


class TextEmbedding:
    """Embeds texts in ``dimension`` numbers by hashing words and n-grams of characters. Holds no state."""

    def __init__(self, dimension: int = 512, *, shortest: int = 3, longest: int = 5) -> None:
        """dimension: length of the vectors; shortest, longest: characters of an n-gram with the boundary marks, 3 to 5
        as choice. Texts of D different features are told apart well where dimension is far above D. Raises ValueError
        for numbers out of range.
        """
        if dimension != int(dimension) or dimension < 1:
            raise ValueError(f"dimension is {dimension}; write a whole number, 1 or more")
        if not (shortest == int(shortest) and longest == int(longest) and 1 <= shortest <= longest):
            raise ValueError(f"n-grams are {shortest} to {longest} long; write whole numbers, 1 <= shortest <= longest")
        self.dimension, self.shortest, self.longest = int(dimension), int(shortest), int(longest)

    def __call__(self, texts: Sequence[str]) -> Tensor:
        """(texts, dimension) float64, each row of length one; a text without a word is a row of zeros, as is one whose
        features cancel. Raises TypeError for a single text, which would be taken for a sequence of characters.
        """
        if isinstance(texts, str):
            raise TypeError("texts is a single text; write a list of texts")
        rows, columns, weights = [], [], []
        for i, text in enumerate(texts):
            for feature, count in Counter(features(text, self.shortest, self.longest)).items():
                place, sign = self._hashed(feature)
                rows.append(i)
                columns.append(place)
                weights.append(sign * (1 + math.log(count)))
        x = torch.zeros(len(texts), self.dimension, dtype=torch.float64)
        index = (torch.tensor(rows, dtype=torch.int64), torch.tensor(columns, dtype=torch.int64))
        x.index_put_(index, torch.tensor(weights, dtype=torch.float64), accumulate=True)
        length = x.square().sum(dim=1, keepdim=True).sqrt()
        return torch.where(length > 0, x / length, 0.0)

    def _hashed(self, feature: str) -> tuple[int, int]:
        """Place and sign: the lowest bit of 64 is the sign, the others modulo the dimension are the place."""
        digest = hashlib.blake2b(feature.encode(), digest_size=8, person=_PERSON).digest()
        number = int.from_bytes(digest, "little")
        return (number >> 1) % self.dimension, 1 - 2 * (number & 1)


def similarity(one: Tensor, other: Tensor) -> Tensor:
    """Cosines of embeddings: (n, dimension) and (m, dimension) -> (n, m) in [-1, 1], zero for texts without a word."""
    if one.dim() != 2 or other.dim() != 2 or one.shape[1] != other.shape[1]:
        shapes = f"{tuple(one.shape)} and {tuple(other.shape)}"
        raise ValueError(f"embeddings have shapes {shapes}; write (n, dimension) and (m, dimension)")
    return (one @ other.T).clamp(-1, 1)


def normalise(text: str) -> str:
    """The form in which texts are compared: compatibility-composed and case-folded, without invisible characters.

    NFKC and case folding twice over (Unicode standard, section 3.13, D145 to D147: folding can undo the composition,
    and composing can bring up what folds), so that full-width letters, ligatures and ways to write one accent are the
    same. Format characters (category Cf, as the soft hyphen and the joiners) and variation selectors are left out.
    Stable from one version of Unicode to the next for all characters that the older one knows.
    """
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFD", text).casefold()).casefold()
    kept = "".join(c for c in folded if unicodedata.category(c) != "Cf" and not _selects_variation(c))
    return unicodedata.normalize("NFKC", kept)


def words(text: str) -> Iterator[str]:
    """The words of a normalised text, in its order."""
    word = ""
    for c in text:
        kind = unicodedata.category(c)[0]
        if kind in "LNM":
            word += c
            continue
        if word:
            yield word
        word = ""
        if kind == "S":
            yield c
    if word:
        yield word


def features(text: str, shortest: int = 3, longest: int = 5) -> Iterator[str]:
    """The features of a text, once for each occurrence: its words, and their n-grams between boundary marks.

    A word as short as an n-gram with its marks is one by itself; one that is shorter has none.
    """
    for word in words(normalise(text)):
        yield _WORD + word
        marked = _START + word + _END
        for n in range(shortest, longest + 1):
            for start in range(len(marked) - n + 1):
                yield _GRAM + marked[start : start + n]


def _selects_variation(c: str) -> bool:
    return "\ufe00" <= c <= "\ufe0f" or "\U000e0100" <= c <= "\U000e01ef"
