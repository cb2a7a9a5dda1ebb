"""A picture of a run: modulators, salience and free energy over time."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ..core.modulator_parameters import MODULATORS
from ..files.atomic import replacing
from ..files.errors import InputError

#: Points along the time axis: more than a picture can show, and few enough to hold for any length of input.
BINS = 400

COLOURS = ("#c1272d", "#0072b2", "#cc79a7", "#e69f00", "#009e73")


@dataclass(frozen=True)
class Series:
    """Means over agents in equal bins of time. time: (bins,) seconds; values[name]: (bins,), NaN where no row fell."""

    time: np.ndarray
    values: dict[str, np.ndarray]
    rows: int


def read_series(path: Path, bins: int = BINS) -> Series:
    """Average the numeric columns of results.parquet over bins of time, in bounded memory.

    Raises InputError where there are no results of a run.
    """
    try:
        file = pq.ParquetFile(path)
    except (OSError, pa.ArrowException) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"{path}: {reason}; write the --out directory of a finished run") from None
    with file:
        names = [n for n in file.schema_arrow.names if n in _WANTED or n.startswith("salience.")]
        for name in ("time", *sorted(_WANTED)):
            if name not in file.schema_arrow.names:
                raise InputError(f"{path}: has no column {name!r}; write the --out directory of a finished run")
        low, high = np.inf, -np.inf
        for batch in file.iter_batches(columns=["time"], use_threads=False):
            x = batch["time"].to_numpy()
            low, high = min(low, float(x.min())), max(high, float(x.max()))
        edges = np.linspace(low, high, bins + 1) if high > low else np.array([low, low + 1.0])
        count = len(edges) - 1
        sums, rows = {name: np.zeros(count) for name in names}, np.zeros(count)
        for batch in file.iter_batches(columns=["time", *names], use_threads=False):
            where = np.clip(np.searchsorted(edges, batch["time"].to_numpy(), side="right") - 1, 0, count - 1)
            rows += np.bincount(where, minlength=count)
            for name in names:
                x = batch[name].to_numpy(zero_copy_only=False).astype(np.float64)
                sums[name] += np.bincount(where, weights=x, minlength=count)
    filled = rows > 0
    values = {name: np.divide(s, rows, out=np.full(count, np.nan), where=filled)[filled] for name, s in sums.items()}
    return Series(edges[:-1][filled], values, int(rows.sum()))


def draw(directory: Path) -> Path:
    """Draw DIRECTORY/results.parquet as DIRECTORY/report.png and return its path."""
    # The object-oriented interface: pyplot would look for a display and keep global state.
    from matplotlib.figure import Figure

    series = read_series(directory / "results.parquet")
    unit, scale = _time_unit(series.time)
    time = series.time / scale
    figure = Figure(figsize=(11, 8.5), layout="constrained")
    top, middle, bottom = figure.subplots(3, 1, sharex=True)
    for name, colour in zip(MODULATORS, COLOURS, strict=True):
        top.plot(time, series.values[name], color=colour, lw=1.2, label=name)
    top.set_ylabel("modulator level")
    saliences = sorted(n for n in series.values if n.startswith("salience."))
    for i, name in enumerate(saliences):
        middle.plot(time, series.values[name], lw=1.0, label=name.removeprefix("salience."), color=f"C{i}")
    middle.set_ylabel("salience")
    for name, colour, dash in (("variational", "#222222", "-"), ("expected", "#888888", "--")):
        energy = series.values["free_energy" if name == "variational" else "expected_free_energy"]
        bottom.plot(time, energy, color=colour, lw=1.0, ls=dash, label=f"{name} free energy")
    bottom.set_ylabel("nats")
    bottom.set_xlabel(f"time ({unit})")
    for axes in (top, middle, bottom):
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), frameon=False, fontsize=9)
        axes.grid(axis="y", lw=0.3)
    figure.suptitle(f"{directory.resolve().name}: {series.rows:,} stimuli, mean over agents", x=0.01, ha="left")
    path = directory / "report.png"
    with replacing(path) as target:
        figure.savefig(target, format="png", dpi=120)
    return path


_WANTED = {*MODULATORS, "free_energy", "expected_free_energy"}


def _time_unit(time: np.ndarray) -> tuple[str, float]:
    span = float(time[-1] - time[0]) if len(time) else 0.0
    for unit, seconds in (("days", 86400.0), ("hours", 3600.0), ("minutes", 60.0)):
        if span >= 3 * seconds:
            return unit, seconds
    return "seconds", 1.0
