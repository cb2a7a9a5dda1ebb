"""Running statistics of many streams in one process: has one changed, and is a vector unusual beside its others."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np
import ray
import torch

from ..core import batched
from ..core.anomaly import AnomalyDetector, AnomalyState
from ..core.drift import CusumDetector, CusumParameters, CusumState, WindowComparison, WindowState
from ..core.roster import pack_names, unpack_names
from .durability import Continuity, Durability, acknowledged
from .process import prepare_process

S = TypeVar("S")


class OtherDimension(ValueError):
    """A vector that is longer or shorter than those of its stream."""


@dataclass(frozen=True)
class StreamParameters:
    """What the statistics of a stream are made with. reference, recent: lengths of the two windows, as in
    :class:`cognitive_actors.core.drift.WindowComparison`."""

    cusum: CusumParameters = field(default_factory=CusumParameters)
    reference: int = 100
    recent: int = 50


@dataclass(frozen=True, eq=False)
class DriftState:
    """What is known of the numbers of N streams."""

    cusum: CusumState
    windows: WindowState


@ray.remote(num_cpus=0, max_restarts=0)
class StreamStatisticsActor:
    """Change detection for streams of numbers, and anomaly scores for streams of vectors.

    A stream begins with the first call that names it. streams: how many of each of the two kinds are kept; where one
    more comes, the one that was not used for longest is forgotten, and begins anew should it come again. What a reply
    says under ``seen`` tells. durability, request: as in NeurotransmitterActor; all streams are saved together, so that
    each change costs as much as there are streams. What was merely scored counts as used until the process ends.
    """

    def __init__(
        self,
        parameters: StreamParameters | None = None,
        streams: int = 1000,
        durability: Durability | str | None = None,
    ) -> None:
        prepare_process()
        if streams < 1:
            raise ValueError(f"streams is {streams}; write 1 or more")
        self.parameters = StreamParameters() if parameters is None else parameters
        self.cusum = CusumDetector(self.parameters.cusum)
        self.windows = WindowComparison(self.parameters.reference, self.parameters.recent)
        self.streams, self.forgotten = streams, 0
        # In the order of their last use, and never changed in place.
        self.drifts: dict[str, DriftState] = {}
        self.anomalies: dict[str, AnomalyState] = {}
        self._continuity = Continuity(durability, actor="streams", parameters=self.parameters)
        self._continuity.begin(self)

    @acknowledged
    def drift(self, stream: str, values: Sequence[float], *, request: str | None = None) -> dict[str, Any]:
        """Take numbers of a stream, first to last; what each was, and how the stream stands after the last.

        values: in the units of the data. Raises ValueError for NaN, infinity and magnitudes beyond LARGEST.
        """
        state = self.drifts.get(stream) or DriftState(self.cusum.initial(1), self.windows.initial(1))
        x = torch.tensor([list(values)], dtype=torch.float64)
        with torch.inference_mode():
            cusum, found = self.cusum.scan(state.cusum, x)
            windows = state.windows
            for t in range(x.shape[1]):
                windows = self.windows.update(windows, x[:, t])
            compared = self.windows.compare(windows)
        self.drifts = self._used(self.drifts, stream, DriftState(cusum, windows))
        rise, fall = found.rise[0].tolist(), found.fall[0].tolist()
        return {
            "seen": int(windows.count),
            "learning": bool(cusum.count < self.parameters.cusum.baseline),
            "mean": float(cusum.mean),
            "deviation": float(self.cusum.deviation(cusum)),
            "z": found.z[0].tolist(),
            "rises": [t for t, alarm in enumerate(rise) if alarm],
            "falls": [t for t, alarm in enumerate(fall) if alarm],
            **{name: getattr(cusum, name).item() for name in ("upper", "lower", "upper_run", "lower_run")},
            "alarm": bool((cusum.upper > self.cusum.parameters.h) | (cusum.lower > self.cusum.parameters.h)),
            "compared": bool(self.windows.ready(windows)),
            **{name: float(getattr(compared, name)) for name in ("difference", "ks", "p_value")},
        }

    @acknowledged
    def forget_drift(self, stream: str, *, request: str | None = None) -> bool:
        """Forget the numbers of a stream. Returns whether there was one."""
        self.drifts, known = _without(self.drifts, stream), stream in self.drifts
        return known

    def score(self, stream: str, vectors: Sequence[Sequence[float]]) -> dict[str, Any]:
        """How unusual vectors are beside those that the stream has learned. Nothing is learned from them.

        Raises OtherDimension for vectors that are not as long as those of the stream, or not all of one length.
        """
        detector, state, x = self._vectors(stream, vectors)
        if stream in self.anomalies:
            self.anomalies = self._used(self.anomalies, stream, state)
        return _scored(detector, state, x, state)

    @acknowledged
    def learn(self, stream: str, vectors: Sequence[Sequence[float]], *, request: str | None = None) -> dict[str, Any]:
        """As ``score``, of vectors that the stream learns from after they were scored."""
        detector, state, x = self._vectors(stream, vectors)
        after = detector.update(state, x)
        found = _scored(detector, state, x, after)
        self.anomalies = self._used(self.anomalies, stream, after)
        return found

    @acknowledged
    def forget_anomaly(self, stream: str, *, request: str | None = None) -> bool:
        """Forget the vectors of a stream, and how long they are. Returns whether there was one."""
        self.anomalies, known = _without(self.anomalies, stream), stream in self.anomalies
        return known

    def status(self) -> dict[str, int]:
        """Streams of each kind, how many are kept of each, and how many were forgotten for others."""
        kept = {"drift": len(self.drifts), "anomaly": len(self.anomalies)}
        return {**kept, "streams": self.streams, "forgotten": self.forgotten}

    def save(self) -> int | None:
        """Save the state now. Returns its generation in the store, None without durability."""
        return self._continuity.save(self)

    def ready(self) -> dict[str, Any]:
        """Answers once the actor can work."""
        return {**self.status(), "pid": os.getpid()}

    def _used(self, kept: dict[str, S], stream: str, state: S) -> dict[str, S]:
        """The streams with this one as the last that was used, and without the first should they be too many."""
        after = {**_without(kept, stream), stream: state}
        while len(after) > self.streams:
            del after[next(iter(after))]
            self.forgotten += 1
        return after

    def _vectors(
        self, stream: str, vectors: Sequence[Sequence[float]]
    ) -> tuple[AnomalyDetector, AnomalyState, torch.Tensor]:
        known = self.anomalies.get(stream)
        features = len(vectors[0]) if known is None else known.mean.shape[1]
        for place, vector in enumerate(vectors):
            if len(vector) != features:
                whose = "the first one" if known is None else f"those of the stream {stream!r}"
                raise OtherDimension(
                    f"vector {place} has {len(vector)} features, not {features} as {whose}; write as many, name another"
                    " stream, or reset this one"
                )
        detector = AnomalyDetector(features)
        return detector, known or detector.initial(1), torch.tensor([list(map(list, vectors))], dtype=torch.float64)

    def _snapshot(self) -> dict[str, np.ndarray]:
        lengths = [state.mean.shape[1] for state in self.anomalies.values()]
        arrays = {
            **_under("drift", pack_names(list(self.drifts))),
            **_under("drift", batched.to_arrays(_joined(self._no_drift(), list(self.drifts.values())))),
            **_under("anomaly", pack_names(list(self.anomalies))),
            "anomaly/features": np.array(lengths, dtype=np.int64),
            "forgotten": np.array(self.forgotten),
        }
        # Those of one length together, in the order in which they stand among the others.
        for p in sorted(set(lengths)):
            states = [state for state, length in zip(self.anomalies.values(), lengths, strict=True) if length == p]
            arrays |= _under(f"anomaly/{p}", batched.to_arrays(_joined(AnomalyDetector(p).initial(0), states)))
        return arrays

    def _restore(self, arrays: Mapping[str, np.ndarray]) -> None:
        names, states = unpack_names(_of("drift", arrays)), _of("drift", arrays)
        cusum = self.cusum.from_arrays(_below("cusum", states))
        windows = self.windows.from_arrays(_below("windows", states))
        drifts = dict(zip(names, _rows(DriftState(cusum, windows), len(windows.count)), strict=True))
        lengths, names = arrays["anomaly/features"].tolist(), unpack_names(_of("anomaly", arrays))
        rows = {}
        for p in set(lengths):
            joined = AnomalyDetector(p).from_arrays(_of(f"anomaly/{p}", arrays))
            if len(joined.count) != lengths.count(p):
                raise ValueError(f"{len(joined.count)} streams have {p} features, and {lengths.count(p)} say so")
            rows[p] = iter(_rows(joined, len(joined.count)))
        anomalies = {name: next(rows[p]) for name, p in zip(names, lengths, strict=True)}
        self.forgotten = int(arrays["forgotten"])
        # They may have been more than are kept now.
        self.drifts, self.anomalies = self._latest(drifts), self._latest(anomalies)

    def _latest(self, kept: dict[str, S]) -> dict[str, S]:
        surplus = max(len(kept) - self.streams, 0)
        self.forgotten += surplus
        return dict(list(kept.items())[surplus:])

    def _no_drift(self) -> DriftState:
        return DriftState(self.cusum.initial(0), self.windows.initial(0))

    def _memory(self) -> tuple[dict[str, DriftState], dict[str, AnomalyState], int]:
        return self.drifts, self.anomalies, self.forgotten

    def _recall(self, memory: Any) -> None:
        self.drifts, self.anomalies, self.forgotten = memory


def _scored(detector: AnomalyDetector, state: AnomalyState, x: torch.Tensor, after: AnomalyState) -> dict[str, Any]:
    with torch.inference_mode():
        found = detector.score(state, x)
    return {
        "seen": int(after.count),
        "features": detector.features,
        "minimum": detector.minimum,
        "ready": bool(detector.ready(state)),
        "distance": found.distance[0].tolist(),
        "p_value": found.p_value[0].tolist(),
    }


def _without(kept: dict[str, S], stream: str) -> dict[str, S]:
    return {name: state for name, state in kept.items() if name != stream}


def _joined(none: S, states: list[S]) -> S:
    """States of one stream each as one, with ``none`` for where there is none."""
    parts = [dict(batched.leaves(state)) for state in [none, *states]]
    return batched.rebuild(none, {name: torch.cat([part[name] for part in parts]) for name in parts[0]})


def _rows(state: S, count: int) -> list[S]:
    return [batched.take(state, torch.tensor([row])) for row in range(count)]


def _under(prefix: str, arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {f"{prefix}/{name}": x for name, x in arrays.items()}


def _of(prefix: str, arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {name.removeprefix(f"{prefix}/"): x for name, x in arrays.items() if name.startswith(f"{prefix}/")}


def _below(part: str, arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {name.removeprefix(f"{part}."): x for name, x in arrays.items() if name.startswith(f"{part}.")}
