"""Makes the example stimuli and the example model from four years of daily weather in Seattle.

    python prepare_seattle.py [DIRECTORY]

reads seattle-weather.csv beside this script and writes seattle-weather.jsonl, first-days.csv, first-days.parquet and
umbrella.yaml into DIRECTORY (this one by default). The same input gives the same files.

The model's four weather regimes are the hidden states of a hidden Markov model, fitted to the three observations of
each day by expectation maximisation (Baum, Petrie, Soules and Weiss 1970, Ann Math Statist 41:164), every year being
a sequence of its own. The starting point is fixed and written below: it says what the four names mean.
"""

from __future__ import annotations

import csv
import json
import sys
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

HERE = Path(__file__).parent

OUTCOMES = {
    "weather": ["drizzle", "rain", "sun", "snow", "fog"],
    "temperature": ["cold", "mild", "warm"],
    "wind": ["calm", "breezy", "windy"],
}
#: The day's highest temperature in °C: cold below the first number, mild below the second, warm from there on.
TEMPERATURE = (10.0, 20.0)
#: The day's wind speed in m/s: calm below the first number, breezy below the second, windy from there on.
WIND = (2.5, 4.5)
#: Precipitation in mm from which a day without an umbrella ends soaked.
SOAKING = 1.0
#: How often an umbrella fails to keep its owner dry on such a day.
LEAK = 0.1

REGIMES = ["dry", "showery", "wet", "wintry"]
#: Where the fit begins: how likely each outcome is in each regime, in the order of OUTCOMES.
BEGIN = {
    "weather": [
        [0.05, 0.02, 0.90, 0.01, 0.02],
        [0.15, 0.20, 0.40, 0.01, 0.24],
        [0.03, 0.55, 0.05, 0.02, 0.35],
        [0.05, 0.25, 0.35, 0.15, 0.20],
    ],
    "temperature": [[0.05, 0.25, 0.70], [0.15, 0.70, 0.15], [0.30, 0.65, 0.05], [0.80, 0.19, 0.01]],
    "wind": [[0.40, 0.45, 0.15], [0.40, 0.45, 0.15], [0.20, 0.40, 0.40], [0.45, 0.35, 0.20]],
}
STAY = 0.85
#: Days added to every count, so that nothing that never happened in four years is impossible.
PRIOR = 1.0
ITERATIONS = 150
#: How many days the CSV and Parquet examples hold.
FIRST_DAYS = 60


def read_days() -> list[dict[str, str]]:
    """The rows of the CSV file, in the order of their dates."""
    with open(HERE / "seattle-weather.csv", newline="", encoding="utf-8") as file:
        return sorted(csv.DictReader(file), key=lambda row: row["date"])


def weather(row: dict[str, str]) -> str:
    """The day's weather, rain being what was measured.

    The file has one label per day, and the labels of rainy days change in 2013: "rain" on 191 days of 2012 and on 3
    of 2014, "fog" on 5 and 151. The measured precipitation does not change so; taken from it, a wet day means the
    same in every year, and the regimes are regimes and not years.
    """
    if row["weather"] == "snow":
        return "snow"
    if float(row["precipitation"]) >= SOAKING:
        return "rain"
    return "drizzle" if row["weather"] == "rain" else row["weather"]


def stimulus(row: dict[str, str]) -> dict[str, Any]:
    """One day as a stimulus: each year is an agent of its own, whose time begins on 1 January."""
    day = date(*map(int, row["date"].split("/")))
    return {
        "id": day.isoformat(),
        "agent": f"seattle-{day.year}",
        "time": 86_400.0 * (day - date(day.year, 1, 1)).days,
        "observation": {
            "weather": weather(row),
            "temperature": OUTCOMES["temperature"][np.searchsorted(TEMPERATURE, float(row["temp_max"]), side="right")],
            "wind": OUTCOMES["wind"][np.searchsorted(WIND, float(row["wind"]), side="right")],
        },
    }


def fit_regimes(observed: dict[str, np.ndarray], years: list[np.ndarray]) -> tuple[np.ndarray, ...]:
    """Expectation maximisation from BEGIN, with PRIOR days added to every count.

    observed: outcome numbers, int (days,), by modality. years: the days of each sequence.
    Returns the probabilities of regimes given all days (days, 4), of the first day (4,), of transitions (4, 4; a row
    per previous regime), and of the outcomes of each modality (4, outcomes).
    """
    k = len(REGIMES)
    likelihoods = [np.array(BEGIN[name]) for name in OUTCOMES]
    transitions = np.full((k, k), (1 - STAY) / (k - 1)) + np.eye(k) * (STAY - (1 - STAY) / (k - 1))
    initial = np.full(k, 1 / k)
    posterior = np.zeros((sum(map(len, years)), k))
    for _ in range(ITERATIONS):
        tables = zip(OUTCOMES, likelihoods, strict=True)
        evidence = np.prod([table[:, observed[name]].T for name, table in tables], axis=0)
        first, moves = np.zeros(k), np.zeros((k, k))
        for days in years:
            posterior[days], expected = smooth(evidence[days], initial, transitions)
            first += posterior[days[0]]
            moves += expected
        initial = normalised(first + PRIOR)
        transitions = normalised(moves + PRIOR)
        likelihoods = [
            normalised(posterior.T @ np.eye(len(labels))[observed[name]] + PRIOR) for name, labels in OUTCOMES.items()
        ]
    return posterior, initial, transitions, *likelihoods


def smooth(evidence: np.ndarray, initial: np.ndarray, transitions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Forward and backward pass over one sequence: regimes given all days (days, 4), expected transitions (4, 4)."""
    n = len(evidence)
    forward, backward, scale = np.zeros_like(evidence), np.ones_like(evidence), np.ones(n)
    for t in range(n):
        x = evidence[t] * (initial if t == 0 else forward[t - 1] @ transitions)
        scale[t] = x.sum()
        forward[t] = x / scale[t]
    for t in range(n - 2, -1, -1):
        backward[t] = transitions @ (evidence[t + 1] * backward[t + 1]) / scale[t + 1]
    later = evidence[1:] * backward[1:] / scale[1:, None]
    return forward * backward, transitions * (forward[:-1].T @ later)


def normalised(counts: np.ndarray) -> np.ndarray:
    """Counts as probabilities over the last axis."""
    return np.asarray(counts / counts.sum(axis=-1, keepdims=True))


def rounded(probabilities: np.ndarray) -> list[Any]:
    """Four decimals that still sum to one: the largest entry takes what rounding leaves over."""
    rows = np.round(probabilities, 4).reshape(-1, probabilities.shape[-1])
    rows[np.arange(len(rows)), rows.argmax(axis=-1)] += 1 - rows.sum(axis=-1)
    values: Any = np.round(rows, 4).reshape(probabilities.shape).tolist()
    return list(values)


def comfort(soaking: np.ndarray) -> list[Any]:
    """How the day feels, (regimes, umbrella or nothing, outcomes), given how often each regime soaks (4,)."""
    umbrella = np.stack([(1 - LEAK) * soaking, 1 - soaking, LEAK * soaking], axis=-1)
    nothing = np.stack([1 - soaking, 0 * soaking, soaking], axis=-1)
    return rounded(np.stack([umbrella, nothing], axis=1))


def model_text(initial: np.ndarray, transitions: np.ndarray, likelihoods: list[np.ndarray], soaking: np.ndarray) -> str:
    """The model as YAML, laid out for reading."""

    def matrix(rows: list[Any], indent: int) -> str:
        return "".join(f"\n{' ' * indent}- {json.dumps(row)}" for row in rows)

    observed = "".join(
        f"""
  - name: {name}
    outcomes: [{", ".join(labels)}]
    depends_on: [regime]
    likelihood:{matrix(rounded(table), 6)}
"""
        for (name, labels), table in zip(OUTCOMES.items(), likelihoods, strict=True)
    )
    return f"""\
# Shall I take an umbrella tomorrow? Made by prepare_seattle.py from four years of daily weather in Seattle.
# The agent sees the weather of each day, infers the regime it belongs to, and decides what to carry the next day.
version: 1
name: umbrella
horizon: 2 # days

factors:
  - name: regime
    states: [{", ".join(REGIMES)}]
    initial: {json.dumps(rounded(initial))}
    transitions: # a row per regime of today, a column per regime of tomorrow{matrix(rounded(transitions), 6)}

  - name: carrying
    states: [umbrella, nothing]
    initial: [0, 1]
    actions: [take, leave]
    transitions:
      take: [[1, 0], [1, 0]]
      leave: [[0, 1], [0, 1]]

modalities:{observed}
  # Never in the file: what the agent expects to feel is what it decides by. Rows: regimes; within: umbrella, nothing.
  - name: comfort
    outcomes: [comfortable, encumbered, soaked]
    depends_on: [regime, carrying]
    likelihood:{matrix(comfort(soaking), 6)}
    preferences: {{comfortable: 0, encumbered: -1, soaked: -4}} # nats
"""


def main(directory: Path) -> None:
    """Write the four files."""
    rows = read_days()
    stimuli = [stimulus(row) for row in rows]
    write_stimuli(stimuli, directory)
    observed = {
        name: np.array([labels.index(s["observation"][name]) for s in stimuli]) for name, labels in OUTCOMES.items()
    }
    agents = np.array([s["agent"] for s in stimuli])
    posterior, initial, transitions, *likelihoods = fit_regimes(
        observed, [np.flatnonzero(agents == agent) for agent in np.unique(agents)]
    )
    wet = np.array([float(row["precipitation"]) >= SOAKING for row in rows])
    soaking = posterior.T @ wet / posterior.sum(axis=0)
    (directory / "umbrella.yaml").write_text(model_text(initial, transitions, likelihoods, soaking), encoding="utf-8")


def write_stimuli(stimuli: list[dict[str, Any]], directory: Path) -> None:
    """All days as JSONL, the first ones as CSV and Parquet too."""
    lines = "".join(json.dumps(s) + "\n" for s in stimuli)
    (directory / "seattle-weather.jsonl").write_text(lines, encoding="utf-8")
    first = [{"id": s["id"], "agent": s["agent"], "time": s["time"], **s["observation"]} for s in stimuli[:FIRST_DAYS]]
    with open(directory / "first-days.csv", "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(first[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(first)
    pq.write_table(pa.Table.from_pylist(first), directory / "first-days.parquet")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else HERE)
