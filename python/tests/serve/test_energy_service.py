"""``/energy`` on a real Serve: the core's terms by name, a gradient that is one, and a descent that never climbs."""

from __future__ import annotations

import math
from functools import cache
from pathlib import Path
from typing import Any

import httpx
import pytest
import torch
from served import Served
from torch import Tensor

from cognitive_actors.core.energy import descend, energies, gradient
from cognitive_actors.core.expected_free_energy import Planner
from cognitive_actors.core.inference import infer_states
from cognitive_actors.core.model import GenerativeModel
from cognitive_actors.files import load_model

EXAMPLES = Path(__file__).parents[2] / "examples"
RAINY = {"weather": "rain", "wind": 2, "temperature": None}
LEANING = {"regime": [0.4, 0.3, 0.2, 0.1], "carrying": [0.25, 0.75]}
PRIOR = {"regime": [0.1, 0.2, 0.3, 0.4], "carrying": [0.5, 0.5]}


@cache
def exact() -> GenerativeModel:
    return load_model(EXAMPLES / "umbrella.yaml", dtype=torch.float64)


def outcomes() -> list[Tensor]:
    """RAINY as the core takes it."""
    return [torch.tensor([number]) for number in (1, -1, 2, -1)]


def tensors(beliefs: dict[str, list[float]]) -> tuple[Tensor, ...]:
    return tuple(torch.tensor([row], dtype=torch.float64) for row in beliefs.values())


def posted(client: httpx.Client, path: str, body: Any) -> Any:
    response = client.post(f"/energy/{path}", json=body)
    assert response.status_code == 200, response.text
    return response.json()


def near(values: Any) -> Any:
    return pytest.approx(values, rel=1e-12, abs=1e-12)


@pytest.mark.parametrize("prior", [None, PRIOR])
def test_the_terms_are_those_of_the_core_and_sum_up(served: Served, prior: dict[str, list[float]] | None) -> None:
    found = posted(served.stranger, "terms", {"observation": RAINY, "beliefs": LEANING, "prior": prior})
    model, given = exact(), None if prior is None else tensors(prior)
    wanted = energies(Planner(model), outcomes(), tensors(LEANING), given)
    assert list(found["complexity"].values()) == near(wanted.variational.complexity[0].tolist())
    assert list(found["complexity"]) == ["regime", "carrying"]
    assert found["accuracy"] == near(
        dict(zip([m.name for m in model.modalities], wanted.variational.accuracy[0].tolist(), strict=True))
    )
    assert found["accuracy"]["weather"] < 0 and found["accuracy"]["temperature"] == 0
    assert found["free_energy"] == near(sum(found["complexity"].values()) - sum(found["accuracy"].values()))
    slopes = gradient(model, outcomes(), tensors(LEANING), given)
    for name, slope in zip(("regime", "carrying"), slopes, strict=True):
        assert found["gradient"][name] == near(slope[0].tolist())
    assert found["beliefs"] == {name: near(row) for name, row in LEANING.items()} and not found["inferred"]


def test_the_gradient_is_that_of_finite_differences(served: Served) -> None:
    """Of what the service itself says, as weights are softmax of logits up to a factor."""
    step = 1e-5
    found = posted(served.stranger, "terms", {"observation": RAINY, "beliefs": LEANING})
    for place in range(4):

        def free_energy(by: float, place: int = place) -> float:
            moved = [w * math.exp(by) if i == place else w for i, w in enumerate(LEANING["regime"])]
            body = {"observation": RAINY, "beliefs": {**LEANING, "regime": moved}, "policies": 0}
            return float(posted(served.stranger, "terms", body)["free_energy"])

        slope = (free_energy(step) - free_energy(-step)) / (2 * step)
        assert found["gradient"]["regime"][place] == pytest.approx(slope, abs=1e-8)
    assert max(map(abs, found["gradient"]["regime"])) > 1e-2


def test_policies_are_the_best_ones_first(served: Served) -> None:
    found = posted(served.stranger, "terms", {"observation": RAINY, "beliefs": LEANING, "policies": 3})
    expected = Planner(exact()).decompose(tensors(LEANING))
    best = expected.total[0].argsort()[:3].tolist()
    assert [policy["number"] for policy in found["policies"]] == best and found["policies_total"] == 4
    for policy in found["policies"]:
        for name in ("risk", "ambiguity", "utility", "state_information_gain"):
            assert policy[name] == near(float(getattr(expected, name)[0, policy["number"]].sum()))
        assert policy["total"] == near(policy["risk"] + policy["ambiguity"])
        assert policy["total"] == near(-policy["utility"] - policy["state_information_gain"])
    assert set(found["policies"][0]["policy"].split(" > ")) <= {"take", "leave"}
    totals = [policy["total"] for policy in found["policies"]]
    assert totals == sorted(totals) and totals[0] < totals[-1]
    assert posted(served.stranger, "terms", {"observation": RAINY, "policies": 0})["policies"] == []


def test_beliefs_that_are_not_given_are_inferred(served: Served) -> None:
    found = posted(served.stranger, "terms", {"observation": RAINY, "prior": PRIOR})
    wanted = infer_states(exact(), outcomes(), tensors(PRIOR))
    assert found["inferred"] and found["free_energy"] == near(float(wanted.free_energy))
    assert found["beliefs"]["regime"] == near(wanted.beliefs[0][0].tolist())
    # There it is flat.
    assert max(abs(g) for row in found["gradient"].values() for g in row) < 1e-9


def test_a_descent_is_the_core_s_and_ends_at_the_bottom(served: Served) -> None:
    one = posted(served.stranger, "descend", {"observation": RAINY, "beliefs": LEANING, "rate": 0.5})
    wanted = descend(exact(), outcomes(), tensors(LEANING), rate=0.5)
    assert one["after"] == near(float(wanted.free_energy)) and one["rates"] == near(wanted.rate.tolist())
    assert one["beliefs"]["regime"] == near(wanted.beliefs[0][0].tolist())
    before = posted(served.stranger, "terms", {"observation": RAINY, "beliefs": LEANING})["free_energy"]
    assert one["before"] == near(before) and one["after"] < one["before"]
    prior = {"observation": RAINY, "prior": PRIOR}
    many = posted(served.stranger, "descend", {**prior, "beliefs": LEANING, "rate": 10, "steps": 100})
    bottom = posted(served.stranger, "terms", prior)["free_energy"]
    assert many["before"] > bottom + 0.1 and bottom <= many["after"] < bottom + 1e-4
    assert len(many["rates"]) <= 100 and 0 < min(many["rates"]) <= max(many["rates"]) <= 10


@pytest.mark.parametrize("rate", [1e-6, 1.0, 1e6])
@pytest.mark.parametrize("regime", [[1, 0, 0, 0], [0, 0, 0, 1e-300], [5e-324, 1e6, 0, 1]])
def test_free_energy_never_rises(served: Served, rate: float, regime: list[float]) -> None:
    body = {"observation": RAINY, "beliefs": {"regime": regime, "carrying": [0, 1]}, "rate": rate, "steps": 5}
    found = posted(served.stranger, "descend", body)
    assert found["after"] <= found["before"]
    after = posted(served.stranger, "terms", {"observation": RAINY, "beliefs": found["beliefs"]})["free_energy"]
    assert after == pytest.approx(found["after"], abs=1e-9)
    for row in found["beliefs"].values():
        assert math.isclose(sum(row), 1, abs_tol=1e-12) and min(row) >= 0


WRONG: tuple[tuple[Any, str], ...] = (
    ({"observation": {"wether": "rain"}}, "did you mean 'weather'"),
    ({"observation": {"weather": "frogs"}}, "frogs"),
    ({"observation": {}}, "nothing is observed"),
    ({"observation": RAINY, "beliefs": {"regime": [1, 1, 1, 1]}}, "write 2 weights for factor 'carrying'"),
    ({"observation": RAINY, "beliefs": {**LEANING, "regime": [1, 1]}}, "write 4 weights for factor 'regime'"),
    ({"observation": RAINY, "prior": {**LEANING, "regime": [0, 0, 0, 0]}}, "prior: write 4 weights"),
    ({"observation": RAINY, "beliefs": {**LEANING, "regim": [1]}}, "did you mean 'regime'"),
    ({"observation": RAINY, "beliefs": {**LEANING, "regime": [-1, 1, 1, 1]}}, "greater than or equal to 0"),
    ({"observation": RAINY, "unknown": 1}, "unknown"),
)


@pytest.mark.parametrize(("body", "said"), WRONG)
def test_what_does_not_fit_the_model_is_refused(served: Served, body: Any, said: str) -> None:
    response = served.stranger.post("/energy/terms", json=body)
    assert response.status_code == 422 and said in response.json()["detail"], response.text


@pytest.mark.parametrize("number", ["NaN", "Infinity", "1e999", '"1"', "true", "null"])
def test_weights_that_are_no_numbers(served: Served, number: str) -> None:
    body = f'{{"observation": {{"weather": "rain"}}, "beliefs": {{"regime": [{number}, 1, 1, 1], "carrying": [1, 1]}}}}'
    for path in ("terms", "descend"):
        response = served.stranger.post(f"/energy/{path}", content=body, headers={"Content-Type": "application/json"})
        assert response.status_code == 422 and "regime.0" in response.json()["detail"], response.text


def test_health(served: Served) -> None:
    assert served.stranger.get("/energy/health").json() == {"status": "ok"}
    assert served.stranger.get("/energy/ready").json() == {"ready": True, "reasons": []}
    status = served.stranger.get("/energy/status").json()
    assert (status["service"], status["model"], status["policies"]) == ("energy", "umbrella", 4)
