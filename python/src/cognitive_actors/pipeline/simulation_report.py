"""A picture of a simulation: how agents fare and feel from trial to trial."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from ..core.modulator_parameters import MODULATORS
from ..files.atomic import replacing
from ..files.errors import InputError
from .report import COLOURS

#: Columns that are no measure of their own.
_INDEX = ("trial", "agent")


def trial_means(path: Path) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Trials, and the mean and 95 % interval of every measure per trial: (trials,), {name: (trials, 2)}.

    Each row group of the file is read by itself. Raises InputError where there is no simulation.
    """
    try:
        file = pq.ParquetFile(path)
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}; write the --out directory of a simulation") from None
    with file:
        names = [name for name in file.schema_arrow.names if name not in _INDEX]
        sums: dict[int, np.ndarray] = {}
        for batch in file.iter_batches():
            trials = batch["trial"].to_numpy()
            values = np.stack([batch[name].to_numpy() for name in names])
            for trial in np.unique(trials):
                x = values[:, trials == trial]
                known = ~np.isnan(x)
                x = np.where(known, x, 0.0)
                moments = np.stack([known.sum(axis=1), x.sum(axis=1), (x**2).sum(axis=1)])
                sums[int(trial)] = sums.get(int(trial), 0) + moments
    order = np.array(sorted(sums))
    count, first, second = np.moveaxis(np.array([sums[t] for t in order]), 1, 0)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = first / count
        spread = np.sqrt(np.maximum(second / count - mean**2, 0.0) / count)
    return order, {name: np.stack([mean[:, i], 1.96 * spread[:, i]], axis=1) for i, name in enumerate(names)}


def draw(directory: Path) -> Path:
    """Draw DIRECTORY/simulation.parquet as DIRECTORY/simulation.png and return its path."""
    from matplotlib.figure import Figure

    trials, series = trial_means(directory / "simulation.parquet")
    colours = dict(zip(MODULATORS, COLOURS, strict=True))
    measures = {n: x for n, x in series.items() if n not in MODULATORS and not np.isnan(x[:, 0]).all()}
    rates = [n for n, x in measures.items() if n not in ("reward", "free_energy") and np.nanmax(x[:, 0]) <= 1]
    panels = {
        "reward": [n for n in measures if n not in rates and n != "free_energy"],
        "share of agents": rates,
        "modulator level": list(MODULATORS),
        "free energy (nats)": ["free_energy"],
    }
    panels = {label: names for label, names in panels.items() if names}
    figure = Figure(figsize=(11, 2.6 * len(panels)), layout="constrained")
    for axes, (label, names) in zip(figure.subplots(len(panels), 1, sharex=True), panels.items(), strict=True):
        for name in names:
            mean, half = series[name].T
            (line,) = axes.plot(trials + 1, mean, marker=".", label=name.replace("_", " "), color=colours.get(name))
            axes.fill_between(trials + 1, mean - half, mean + half, color=line.get_color(), alpha=0.2, lw=0)
        axes.set_ylabel(label)
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(axis="y", lw=0.3)
        axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), frameon=False, fontsize=9)
    axes.set_xlabel("trial")
    figure.suptitle(f"{directory.resolve().name}: mean over agents, 95 % intervals", x=0.01, ha="left")
    path = directory / "simulation.png"
    with replacing(path) as target:
        figure.savefig(target, format="png", dpi=120)
    return path
