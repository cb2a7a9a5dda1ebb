"""Stimuli as JSON lines: one object per line."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..core.model import GenerativeModel
from ..core.modulator_parameters import MODULATORS
from .assemble import Fields, RawChunk
from .batch import Batch, quoted
from .columns import Faults, shown
from .errors import InputError, suggestion
from .lines import count_lines, decoded, first_line, line_chunks

_FIELDS = frozenset({"id", "agent", "time", "observation", "delta"})
_MODULATORS = frozenset(MODULATORS)
_Record = dict[str, Any]
_SLICE = 256


class RecordParser:
    """Lines of JSON against a model."""

    def __init__(self, model: GenerativeModel) -> None:
        self.fields = Fields(model)
        self._modalities = frozenset(self.fields.modalities)

    def parse(self, numbers: list[int], lines: list[bytes]) -> RawChunk:
        faults: Faults = {}
        texts = decoded(lines, faults)
        plain: dict[str, list[Any]] = {name: [] for name in ("id", "agent", "time", "delta")}
        observed: dict[str, list[Any]] = {name: [] for name in self.fields.modalities}
        # A few lines at a time: the objects of a whole chunk would set off Python's garbage collector again and
        # again, which takes a third of the time.
        for begin in range(0, len(texts), _SLICE):
            records = self._records(texts[begin : begin + _SLICE], begin, faults)
            for name, values in plain.items():
                values.extend([record.get(name) for record in records])
            observations = [record["observation"] for record in records]
            for name, values in observed.items():
                values.extend([observation.get(name) for observation in observations])
        deltas = plain.pop("delta")
        return RawChunk(
            lines=numbers,
            text=lambda position: quoted(lines[position]),
            observations=observed,
            delta={name: [x.get(name) if x else None for x in deltas] for name in MODULATORS} if any(deltas) else {},
            faults=faults,
            **{name: values for name, values in plain.items() if values.count(None) < len(values)},
        )

    def _records(self, texts: list[str], begin: int, faults: Faults) -> list[_Record]:
        """One object per text, whose observation and delta are objects too; an empty one where there is a fault."""
        records: list[_Record] = []
        for position, text in enumerate(texts, begin):
            try:
                record, end = _read(text)
                if end == len(text) and type(record) is dict and record.keys() <= _FIELDS:
                    observation = record["observation"]
                    if type(observation) is dict and observation.keys() <= self._modalities:
                        delta = record.get("delta")
                        if delta is None or (type(delta) is dict and delta.keys() <= _MODULATORS):
                            records.append(record)
                            continue
                faults.setdefault(position, self._explain(record, text[end:]))
            except (KeyError, ValueError, RecursionError) as error:
                faults.setdefault(position, self._explain_text(error))
            records.append(_EMPTY)
        return records

    def _explain_text(self, error: Exception) -> str:
        """Why a line is not a JSON object with an observation."""
        if isinstance(error, _FormError):
            return str(error)
        if isinstance(error, KeyError):
            return f'no "observation"; write one, as in {self.fields.example}'
        if isinstance(error, json.JSONDecodeError):
            return f"broken JSON at column {error.colno}: {error.msg}; write one object on one line"
        if isinstance(error, RecursionError):
            return "brackets nested too deep; write one flat object"
        return "a number has thousands of digits; write a shorter one"

    def _explain(self, record: Any, rest: str) -> str:
        """Why a record that is JSON is not a stimulus."""
        if rest:
            return f"more text after the first value ({shown(rest)}); write one object per line"
        if not isinstance(record, dict):
            return f"not an object but {shown(record)}; write one such as {self.fields.example}"
        for name in record:
            if name not in _FIELDS:
                return f"unknown field {shown(name)}; {suggestion(name, sorted(_FIELDS))}"
        return _explain_mapping("observation", "modality", record["observation"], self.fields.modalities) or (
            _explain_mapping("delta", "modulator", record.get("delta"), MODULATORS)
        )


class JsonLines:
    """A JSONL file, read against a model."""

    def __init__(self, path: Path, model: GenerativeModel) -> None:
        self.path = path
        self._parser = RecordParser(model)
        first_line(path)  # Raises where the file cannot be read.

    def count(self) -> int:
        """The number of records, good and bad."""
        return count_lines(self.path)

    def read(self, size: int, skip: int, prefix: str, start: int) -> Iterator[Batch]:
        """Batches of the records after the first ``skip``; ``start`` counts all records before the first batch."""
        for numbers, lines in line_chunks(self.path, size):
            if skip >= len(lines):
                skip -= len(lines)
                continue
            raw = self._parser.parse(numbers[skip:], lines[skip:])
            skip = 0
            yield self._parser.fields.assemble(raw, str(self.path), prefix, start)
            start += len(raw.lines)


def parse_records(records: Sequence[Mapping[str, Any]], model: GenerativeModel) -> Batch:
    """Records that are already in memory, under the rules of a JSONL file. Raises InputError for the first bad one."""
    lines = [_line(i, record) for i, record in enumerate(records)]
    parser = RecordParser(model)
    batch = parser.fields.assemble(parser.parse(list(range(len(lines))), lines), "record", "record", 0)
    for reject in batch.rejects:
        raise InputError(f"stimulus {reject.line}: {reject.reason}")
    return batch


def _line(position: int, record: Mapping[str, Any]) -> bytes:
    try:
        # NaN passes here, so that the parser can say where it stands.
        return json.dumps(dict(record)).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise InputError(f"stimulus {position}: {error}; write a mapping as in a JSONL file") from None


def _explain_mapping(field: str, kind: str, value: Any, known: Sequence[str]) -> str:
    if value is None and field == "delta":
        return ""
    if not isinstance(value, dict):
        return f'"{field}" is {shown(value)}; write an object, such as {{"{known[0]}": …}}'
    unknown = [name for name in value if name not in known]
    return f"{field}: unknown {kind} {shown(unknown[0])}; {suggestion(unknown[0], known)}" if unknown else ""


class _FormError(ValueError):
    """JSON that Python reads but that is no good record; the message says what to write."""


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    mapping = dict(pairs)
    if len(mapping) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise _FormError(f"{shown(twice)} stands twice in one object; write it once")
    return mapping


def _refuse_constant(name: str) -> None:
    raise _FormError(f"{name} is not JSON; write a finite number, or null where nothing is known")


# Python's json keeps the last of two equal keys and reads NaN; here both are errors.
_read = json.JSONDecoder(object_pairs_hook=_unique, parse_constant=_refuse_constant).raw_decode

#: Stands in for a record that could not be read.
_EMPTY: _Record = {"observation": {}}
