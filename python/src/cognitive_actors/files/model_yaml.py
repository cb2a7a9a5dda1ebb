"""Models as YAML, for people to read and write.

::

    version: 1
    name: umbrella
    horizon: 2                      # steps that are planned ahead; 1 by default
    factors:                        # hidden states
      - name: weather
        states: [dry, wet]
        initial: [0.5, 0.5]         # uniform by default
        transitions:                # a row per previous state, a column per next state
          - [0.8, 0.2]
          - [0.4, 0.6]
      - name: carrying
        states: [umbrella, nothing]
        actions: [take, leave]      # the order in which policies are listed; by default that of transitions
        transitions:                # of a factor with actions: by action
          take: [[1, 0], [1, 0]]
          leave: stay               # or identity: every state stays what it is
    modalities:                     # observations
      - name: sky
        outcomes: [clear, grey]
        depends_on: [weather]       # all factors by default
        likelihood:                 # leading axes: states, in the order of depends_on; last axis: outcomes
          - [0.9, 0.1]
          - [0.2, 0.8]
        preferences: {grey: -1}     # relative log-preferences (nats), 0 where nothing is written;
                                    # or a list, or a list per step of the horizon
        social: false
    habits: [0.4, 0.1, 0.4, 0.1]    # a probability per policy; uniform by default
    concentration: 10               # Dirichlet counts to learn from: probabilities times 10, at least COUNT_FLOOR
    # or by part, {likelihood: 10, transitions: 50}; or in full, shaped as the probabilities:
    # counts: {likelihood: {sky: [[9, 1], [2, 8]]}, transitions: {...}, initial: {...}}

Preferences whose exponentials sum to one are taken for normalised and kept to the last bit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np

from ..core.model import Factor, Modality
from .errors import suggestion
from .model_arrays import VERSION, ModelArrays, check_policies
from .place import Axis, Place
from .yaml_text import Document

#: Counts made from a concentration are at least this, so that what the model holds impossible can be learned.
COUNT_FLOOR = 1e-3

_PARTS = ("likelihood", "transitions", "initial")
_STAY = ("stay", "identity")


def read_yaml(path: Path) -> ModelArrays:
    """The arrays of a YAML model, unbatched. Raises ModelError, YamlError or OSError."""
    document = Document(path)
    root = Place(path, document, document.value)
    fields = root.fields(("version", "factors", "modalities"), ("name", "horizon", "habits", "counts", "concentration"))
    if fields["version"].whole(1) != VERSION:
        raise fields["version"].error(f"{fields['version'].value}; write {VERSION}, the version of the format")
    horizon = fields["horizon"].whole(1) if "horizon" in fields else 1

    factors, B, D = _read_factors(fields["factors"])
    modalities, A, C = _read_modalities(fields["modalities"], factors, horizon)
    policies = check_policies(factors, horizon, fields["horizon"].error if "horizon" in fields else root.error)
    habits = fields.get("habits")
    arrays = ModelArrays(
        name=fields["name"].text() if "name" in fields else "model",
        horizon=horizon,
        factors=factors,
        modalities=modalities,
        A=A,
        B=B,
        C=C,
        D=D,
        E=None if habits is None else habits.distributions([(policies, "policy")]),
    )
    _read_counts(fields, arrays)
    return arrays


def _read_factors(place: Place) -> tuple[tuple[Factor, ...], list[np.ndarray], list[np.ndarray]]:
    factors: list[Factor] = []
    B: list[np.ndarray] = []
    D: list[np.ndarray] = []
    for item in place.items("factors"):
        fields = item.fields(("name", "states", "transitions"), ("actions", "initial"))
        name, states = fields["name"].text(), fields["states"].names("states")
        actions = _read_actions(fields)
        factor = Factor(name, states, actions)
        factors.append(factor)
        B.append(_read_transitions(fields["transitions"], factor, Place.distributions, shorthand=True))
        initial = fields.get("initial")
        uniform = np.full(len(states), 1 / len(states))
        D.append(uniform if initial is None else initial.distributions([(len(states), f"state of {name!r}")]))
    _check_distinct(place, [factor.name for factor in factors])
    return tuple(factors), B, D


def _read_actions(fields: dict[str, Place]) -> tuple[str, ...]:
    if "actions" in fields:
        return fields["actions"].names("actions")
    transitions = fields["transitions"]
    if isinstance(transitions.value, dict):
        if not transitions.value:
            raise transitions.error("no action; write a matrix, or one for each action")
        for action in transitions.value:
            if not isinstance(action, str) or not action:
                raise transitions.error(f"the action {action!r} is not a text; write its name, in quotes")
        return tuple(transitions.value)
    return Factor("", ()).actions


def _read_transitions(
    place: Place, factor: Factor, read: Callable[[Place, Sequence[Axis]], np.ndarray], *, shorthand: bool
) -> np.ndarray:
    """Matrices with a row per previous state, as (next state, previous state, action)."""
    n = len(factor.states)
    axes = [(n, f"previous state of {factor.name!r}"), (n, f"next state of {factor.name!r}")]

    def matrix(at: Place) -> np.ndarray:
        if shorthand and at.value in _STAY:
            return np.eye(n)
        if shorthand and isinstance(at.value, str):
            raise at.error(f"{at.value!r}; {suggestion(at.value, _STAY)}, or write a matrix")
        return read(at, axes)

    if isinstance(place.value, dict):
        by_action = place.fields(factor.actions)
        matrices = [matrix(by_action[action]) for action in factor.actions]
    elif len(factor.actions) == 1:
        matrices = [matrix(place)]
    else:
        raise place.error(
            f"one matrix for {len(factor.actions)} actions; write {', '.join(factor.actions)}, each with a matrix"
        )
    return np.stack([m.T for m in matrices], axis=-1)


def _read_modalities(
    place: Place, factors: tuple[Factor, ...], horizon: int
) -> tuple[tuple[Modality, ...], list[np.ndarray], list[np.ndarray]]:
    modalities: list[Modality] = []
    A: list[np.ndarray] = []
    C: list[np.ndarray] = []
    names = [factor.name for factor in factors]
    for item in place.items("modalities"):
        fields = item.fields(("name", "outcomes", "likelihood"), ("depends_on", "preferences", "social"))
        depends = fields["depends_on"].names("factor names") if "depends_on" in fields else tuple(names)
        for i, name in enumerate(depends):
            if name not in names:
                raise fields["depends_on"].child(i).error(f"no factor is called {name!r}; {suggestion(name, names)}")
        modality = Modality(
            fields["name"].text(),
            fields["outcomes"].names("outcomes"),
            tuple(names.index(name) for name in depends),
            fields["social"].flag() if "social" in fields else False,
        )
        modalities.append(modality)
        A.append(_outcomes_first(fields["likelihood"].distributions(_likelihood_axes(modality, factors))))
        C.append(_read_preferences(fields.get("preferences"), modality, horizon))
    _check_distinct(place, [modality.name for modality in modalities])
    return tuple(modalities), A, C


def _likelihood_axes(modality: Modality, factors: tuple[Factor, ...]) -> list[Axis]:
    parents = [factors[i] for i in modality.factors]
    states = [(len(parent.states), f"state of {parent.name!r}") for parent in parents]
    return [*states, (len(modality.outcomes), f"outcome of {modality.name!r}")]


def _read_preferences(place: Place | None, modality: Modality, horizon: int) -> np.ndarray:
    """Relative log-preferences (steps, outcomes)."""
    n = len(modality.outcomes)
    if place is None:
        return np.zeros((1, n))
    axis = (n, f"outcome of {modality.name!r}")
    if isinstance(place.value, dict):
        given = place.fields((), modality.outcomes)
        return np.array([[given[o].number() if o in given else 0.0 for o in modality.outcomes]])
    if isinstance(place.value, list) and place.value and isinstance(place.value[0], list):
        return place.array([(horizon, "step of the horizon"), axis])
    return place.array([axis])[None]


def _read_counts(fields: dict[str, Place], arrays: ModelArrays) -> None:
    """Set pA, pB and pD from ``counts`` or ``concentration``."""
    if "counts" in fields and "concentration" in fields:
        raise fields["concentration"].error("stands beside 'counts'; write one of the two")
    if "concentration" in fields:
        _read_concentration(fields["concentration"], arrays)
    given = fields["counts"].fields((), _PARTS) if "counts" in fields else {}
    if "likelihood" in given:
        by_modality = given["likelihood"].fields([m.name for m in arrays.modalities])
        arrays.pA = [
            _outcomes_first(by_modality[m.name].counts(_likelihood_axes(m, arrays.factors))) for m in arrays.modalities
        ]
    factor_names = [f.name for f in arrays.factors]
    if "transitions" in given:
        by_factor = given["transitions"].fields(factor_names)
        arrays.pB = [_read_transitions(by_factor[f.name], f, Place.counts, shorthand=False) for f in arrays.factors]
    if "initial" in given:
        by_factor = given["initial"].fields(factor_names)
        arrays.pD = [by_factor[f.name].counts([(len(f.states), f"state of {f.name!r}")]) for f in arrays.factors]


def _read_concentration(place: Place, arrays: ModelArrays) -> None:
    parts = place.fields((), _PARTS) if isinstance(place.value, dict) else dict.fromkeys(_PARTS, place)

    def counts(part: str, probabilities: Iterable[np.ndarray]) -> list[np.ndarray] | None:
        if part not in parts:
            return None
        concentration = parts[part].number()
        if concentration <= 0:
            raise parts[part].error(f"{concentration:g}; write a number greater than zero")
        return [np.maximum(x * concentration, COUNT_FLOOR) for x in probabilities]

    arrays.pA = counts("likelihood", arrays.A)
    arrays.pB = counts("transitions", arrays.B)
    arrays.pD = counts("initial", arrays.D or ())


def _check_distinct(place: Place, names: list[str]) -> None:
    for i, name in enumerate(names):
        if name in names[:i]:
            raise place.child(i).error(f"{name!r} is there twice; give each a name of its own")


def _outcomes_first(likelihood: np.ndarray) -> np.ndarray:
    return np.moveaxis(likelihood, -1, 0)
