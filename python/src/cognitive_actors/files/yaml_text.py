"""YAML as plain data with a place for every value: no tags, no aliases, no key twice, nothing nested endlessly."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

#: Larger files take minutes and gigabytes to parse; NPZ holds such models.
LIMIT = 32 << 20
#: Every value takes hundreds of bytes while the text is parsed, however short it is.
MOST_VALUES = 1 << 20
_DEPTH = 32
#: Longer numbers, above all those in base 60 (1:30), take time that grows with the square of their length.
_LONGEST_NUMBER = 400
_Safe: Any = yaml.CSafeLoader if yaml.__with_libyaml__ else yaml.SafeLoader
_SafeDumper: Any = yaml.CSafeDumper if yaml.__with_libyaml__ else yaml.SafeDumper


class YamlError(ValueError):
    """A text that is not the YAML accepted here. ``line`` counts from 1, or is None where there is none."""

    def __init__(self, message: str, line: int | None = None) -> None:
        super().__init__(message)
        self.line = line


class Document:
    """The value of a YAML file and the lines on which its parts stand."""

    def __init__(self, path: Path) -> None:
        """Raises YamlError, or OSError if the file cannot be read."""
        if path.stat().st_size > LIMIT:
            raise YamlError(f"larger than {LIMIT >> 20} MB; save the model as .npz")
        try:
            text = path.read_bytes().decode("utf-8-sig")
        except UnicodeDecodeError:
            raise YamlError("not UTF-8 text; write YAML in the encoding UTF-8") from None
        try:
            _check_events(text)
            loader = _Loader(text)
            try:
                self._root = loader.get_single_node()
                self.value: Any = None if self._root is None else loader.construct_document(self._root)
            finally:
                loader.dispose()
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            raise YamlError(
                f"not YAML that is accepted here: {error.problem}", mark.line + 1 if mark else None
            ) from None
        except (yaml.YAMLError, ValueError, OverflowError, RecursionError) as error:
            if isinstance(error, YamlError):
                raise
            raise YamlError(f"not YAML that is accepted here: {error}") from None

    def line(self, keys: Sequence[str | int]) -> int:
        """The line, from 1, where the value under these keys begins, with its own key if it has one.

        Where some of the keys are missing, that of the last one there is.
        """
        node = mark = self._root
        for key in keys:
            if isinstance(node, yaml.SequenceNode) and isinstance(key, int) and key < len(node.value):
                node = mark = node.value[key]
            elif isinstance(node, yaml.MappingNode):
                mark, node = next((pair for pair in node.value if pair[0].value == str(key)), (mark, node))
        return 1 if mark is None else int(mark.start_mark.line) + 1


class _Loader(_Safe):  # type: ignore[misc]
    """Safe YAML whose mappings are what they look like."""

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        seen: set[str] = set()
        for key, _ in node.value:
            if key.tag == "tag:yaml.org,2002:merge":
                raise yaml.constructor.ConstructorError(None, None, "'<<' is not used here", key.start_mark)
            if isinstance(key, yaml.ScalarNode) and key.value in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key.value!r} is there twice; write it once", key.start_mark
                )
            seen.add(str(key.value))


class Dumper(_SafeDumper):  # type: ignore[misc]
    """Writes plain data so that :class:`Document` reads the same values."""


# YAML 1.1 takes 1e-5 for a text, because there is no dot in it. Who writes must know it too, to quote such a text.
for _side in (_Loader, Dumper):
    _side.add_implicit_resolver(
        "tag:yaml.org,2002:float", re.compile(r"^[-+]?[0-9]+(\.[0-9]*)?[eE][-+]?[0-9]+$"), list("-+0123456789")
    )


def _check_events(text: str) -> None:
    """Refuse what takes more time or memory than a small text should, and what is not plain data."""
    depth = 0
    for count, event in enumerate(yaml.parse(text, Loader=_Safe)):
        line = event.start_mark.line + 1 if event.start_mark else None
        if count > MOST_VALUES:
            raise YamlError(f"more than {MOST_VALUES:,} values; save the model as .npz", line)
        if isinstance(event, yaml.AliasEvent):
            # They can grow a small text beyond any memory.
            raise YamlError(f"an alias (*{event.anchor}) stands here; write the value out", line)
        tag = getattr(event, "tag", None)
        if tag is not None:
            raise YamlError(f"a tag ({tag}) stands here; write the value without it", line)
        if isinstance(event, yaml.ScalarEvent) and event.implicit[0] and _is_long_number(event.value):
            raise YamlError("a number with hundreds of digits; write a shorter one, or a text in quotes", line)
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > _DEPTH:
                raise YamlError(f"lists nested more than {_DEPTH} deep; write the array with fewer axes", line)
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1


def _is_long_number(text: str) -> bool:
    return len(text) > _LONGEST_NUMBER and text[0] in "+-.0123456789"
