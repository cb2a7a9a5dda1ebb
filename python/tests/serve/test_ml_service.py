"""``/ml`` on a real Serve: the core's numbers, streams that keep what they were told, and what is refused."""

from __future__ import annotations

import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import numpy as np
import pytest
import torch
from processes import descendants
from served import Served

from cognitive_actors.core.anomaly import AnomalyDetector
from cognitive_actors.core.drift import CusumDetector, WindowComparison
from cognitive_actors.core.embedding import TextEmbedding
from cognitive_actors.core.model import GenerativeModel
from cognitive_actors.core.modulator_parameters import MODULATORS, OPPONENT_PROCESS
from cognitive_actors.core.workspace import GlobalWorkspace, Signals

JSON = {"Content-Type": "application/json"}


def posted(client: httpx.Client, path: str, body: Any) -> Any:
    response = client.post(f"/ml/{path}", json=body)
    assert response.status_code == 200, response.text
    return response.json()


def near(values: Any) -> Any:
    return pytest.approx(values, rel=1e-12, abs=1e-12)


def steady(count: int, seed: int = 1) -> list[float]:
    """Numbers that stay as they are: mean 10 and deviation 2, to the digit that JSON has."""
    return [float(x) for x in np.random.default_rng(seed).normal(10.0, 2.0, count)]


def drift(client: httpx.Client, stream: str, values: list[float]) -> Any:
    return posted(client, "drift", {"stream": stream, "values": values})


INPUTS: list[dict[str, Any]] = [
    {"surprise": 1.5, "relevance": 0.3, "valence": -0.8, "threat": True},
    {"surprise": 0.2, "relevance": 0.9, "valence": 0.5, "social": True, "age": 1.25},
    {"relevance": 1, "age": 3},
    {},
]


@pytest.mark.parametrize("levels", [{}, {"cortisol": 0.9, "oxytocin": 0.8, "norepinephrine": 1, "dopamine": 0}])
def test_salience_is_the_workspace_s_and_its_components_sum_up(served: Served, levels: dict[str, float]) -> None:
    found = posted(served.stranger, "salience", {"inputs": INPUTS, "modulators": levels})
    workspace, resting = GlobalWorkspace(), torch.tensor(OPPONENT_PROCESS.baseline, dtype=torch.float64)
    at = resting[None].clone()
    for name, level in levels.items():
        at[0, MODULATORS.index(name)] = level
    columns = {
        name: torch.tensor([[float(x.get(name, 0)) for x in INPUTS]], dtype=torch.float64)
        for name in ("surprise", "relevance", "valence", "threat", "social", "age")
    }
    columns |= {name: columns[name].bool() for name in ("threat", "social")}
    signals = Signals(**columns, present=torch.ones(1, len(INPUTS), dtype=torch.bool))
    wanted = workspace.salience(workspace.initial(1, len(INPUTS)), signals, at, resting)[0].tolist()
    assert [x["salience"] for x in found["saliences"]] == near(wanted)
    assert found["threshold"] == near(float(workspace.threshold(at, resting)))
    for x in found["saliences"]:
        assert x["bottom_up"] + x["top_down"] + x["affective"] == near(x["salience"])


def test_each_component_is_of_its_own_signal(served: Served) -> None:
    # At rest all gains are one: w_T = .4 of a relevance of 1, w_A = .2 of the largest affect.
    inputs = [{"surprise": 1e9}, {"relevance": 1}, {"valence": -1, "threat": True}, {"relevance": 1, "age": 2}]
    found = posted(served.stranger, "salience", {"inputs": inputs})["saliences"]
    parts = [[x["bottom_up"], x["top_down"], x["affective"]] for x in found]
    assert parts == [near(part) for part in ([0.4, 0, 0], [0, 0.4, 0], [0, 0, 0.2], [0, 0.2, 0])]
    stressed = posted(served.stranger, "salience", {"inputs": inputs, "modulators": {"cortisol": 1.0}})["saliences"]
    assert stressed[2]["affective"] > 0.3 and stressed[:2] == found[:2]


def test_a_steady_stream_raises_no_alarm_and_a_shifted_one_does(served: Served) -> None:
    calm = drift(served.client, "calm", steady(250))
    assert (calm["seen"], calm["alarm"], calm["rises"], calm["falls"]) == (250, False, [], [])
    assert not calm["cusum"]["learning"] and calm["windows"]["compared"] and calm["windows"]["p_value"] > 0.01
    # The same numbers, of which the last 50 are three deviations off.
    for name, sign, there, elsewhere in (("up", 1, "rises", "falls"), ("down", -1, "falls", "rises")):
        first, last = steady(250)[:200], [x + sign * 6.0 for x in steady(250)[200:]]
        before = drift(served.client, name, first)
        assert not before["alarm"] and not before["rises"] and not before["falls"]
        after = drift(served.client, name, last)
        assert after["alarm"] and after[there] and not after[elsewhere] and after[there][0] < 10
        assert after["windows"]["p_value"] < 1e-6 and after["windows"]["difference"] * sign > 1
        sums = after["cusum"]
        # Dated to where the shift began, give or take what is within noise.
        assert 50 <= sums["upper_run" if sign > 0 else "lower_run"] <= 60


def test_the_numbers_are_the_core_s_however_they_come(served: Served) -> None:
    values = [x + (4.0 if t > 180 else 0.0) for t, x in enumerate(steady(240, seed=5))]
    parts = [drift(served.client, "parts", values[begin : begin + 37]) for begin in range(0, 240, 37)]
    cusum, windows = CusumDetector(), WindowComparison()
    state, detection = cusum.scan(cusum.initial(1), torch.tensor([values], dtype=torch.float64))
    assert [z for part in parts for z in part["z"]] == near(detection.z[0].tolist())
    rises = [37 * i + place for i, part in enumerate(parts) for place in part["rises"]]
    assert rises == torch.nonzero(detection.rise[0])[:, 0].tolist() and rises
    last = parts[-1]
    sums = {name: getattr(state, name).item() for name in ("mean", "upper", "lower", "upper_run", "lower_run")}
    assert last["cusum"] == near({**sums, "learning": False, "deviation": float(cusum.deviation(state))})
    recent = windows.initial(1)
    for x in values:
        recent = windows.update(recent, torch.tensor([x], dtype=torch.float64))
    compared = windows.compare(recent)
    wanted = {name: float(getattr(compared, name)) for name in ("difference", "ks", "p_value")}
    assert last["windows"] == near({**wanted, "compared": True}) and last["seen"] == 240


def test_a_stream_begins_anew_where_it_is_reset(served: Served) -> None:
    values = steady(30)
    first = drift(served.client, "reset me", values)
    assert drift(served.client, "reset me", values)["seen"] == 60
    for known in (True, False):
        response = served.client.delete("/ml/drift/reset me")
        assert response.status_code == 200 and response.json() == {"stream": "reset me", "known": known}
    assert drift(served.client, "reset me", values) == first and first["cusum"]["learning"]


def test_two_clients_of_one_stream_lose_nothing(served: Served) -> None:
    chunks = [steady(5, seed=seed) for seed in range(20)]
    with (
        httpx.Client(base_url=served.client.base_url, headers=served.client.headers, timeout=30) as other,
        ThreadPoolExecutor(8) as threads,
    ):
        clients = [served.client, other] * 10
        found = list(threads.map(lambda client, chunk: drift(client, "shared", chunk), clients, chunks))
    assert sorted(each["seen"] for each in found) == list(range(5, 101, 5))
    # In whatever order they came, together they are the baseline.
    last = drift(served.client, "shared", [10.0])
    assert last["seen"] == 101 and last["cusum"]["mean"] == pytest.approx(np.mean(chunks), rel=1e-12)


def vectors(count: int, features: int = 3, seed: int = 2) -> list[list[float]]:
    mixing = np.random.default_rng(seed).normal(size=(features, features))
    rows: list[list[float]] = (np.random.default_rng(seed + 1).normal(size=(count, features)) @ mixing).tolist()
    return rows


def test_anomalies_are_the_core_s(served: Served) -> None:
    learned, judged = vectors(60), [*vectors(64)[60:], [50.0, -50.0, 50.0]]
    body = {"stream": "vectors", "vectors": learned[:30]}
    assert posted(served.client, "anomaly", body) == {
        **{"stream": "vectors", "seen": 30, "features": 3, "minimum": 10, "ready": False},
        **{"scores": [0.0] * 30, "tail_probabilities": [1.0] * 30},
    }
    assert posted(served.client, "anomaly", {**body, "vectors": learned[30:]})["ready"]
    asked = {"stream": "vectors", "vectors": judged, "learn": False}
    found = posted(served.client, "anomaly", asked)
    detector = AnomalyDetector(3)
    state = detector.initial(1)
    for part in (learned[:30], learned[30:]):
        state = detector.update(state, torch.tensor([part], dtype=torch.float64))
    wanted = detector.score(state, torch.tensor([judged], dtype=torch.float64))
    assert found["scores"] == near(wanted.distance[0].tolist())
    assert found["tail_probabilities"] == near(wanted.p_value[0].tolist())
    assert found["tail_probabilities"][-1] < 1e-9 < min(found["tail_probabilities"][:-1])
    # To score is to learn nothing.
    assert posted(served.client, "anomaly", asked) == found and found["seen"] == 60
    assert posted(served.client, "anomaly", {**asked, "learn": True})["scores"] == found["scores"]
    assert posted(served.client, "anomaly", asked)["scores"] != found["scores"]


def test_the_dimension_of_a_stream_is_that_of_its_first_vectors(served: Served) -> None:
    body = {"stream": "flat", "vectors": vectors(3, features=2)}
    assert posted(served.client, "anomaly", body)["features"] == 2
    for learn in (True, False):
        other = {"stream": "flat", "vectors": [[1.0, 2.0], [1.0, 2.0, 3.0]], "learn": learn}
        response = served.client.post("/ml/anomaly", json=other)
        assert response.status_code == 409 and "vector 1 has 3 features, not 2" in response.json()["detail"]
    assert posted(served.client, "anomaly", body)["seen"] == 6
    ragged = served.client.post("/ml/anomaly", json={"stream": "ragged", "vectors": [[1.0], [1.0, 2.0]]})
    assert ragged.status_code == 409 and "as the first one" in ragged.json()["detail"]
    assert served.client.delete("/ml/anomaly/flat").json() == {"stream": "flat", "known": True}
    assert posted(served.client, "anomaly", {"stream": "flat", "vectors": vectors(3)})["features"] == 3


def test_the_largest_numbers_that_are_taken_have_an_answer(served: Served) -> None:
    # Two in a hundred are as large, so that one of them is seven deviations off.
    found = drift(served.client, "huge", [1e150, -1e150, *[0.0] * 98, *[1e150, -1e150] * 40])
    assert (found["rises"], found["falls"]) == (list(range(100, 180, 2)), list(range(101, 180, 2)))
    learned = [[1e60 * (-1) ** i, float(i)] for i in range(12)]
    posted(served.client, "anomaly", {"stream": "huge", "vectors": learned})
    asked = {"stream": "huge", "vectors": [[1e60, 6.0], [-1e60, 1e60]], "learn": False}
    near_by, far = posted(served.client, "anomaly", asked)["tail_probabilities"]
    assert far < 1e-6 < near_by


def test_embeddings_are_the_core_s(served: Served) -> None:
    texts = ["Rain in Seattle", "rainy Seattle", "", "🌧"]
    found = posted(served.stranger, "embeddings", {"texts": texts, "dimension": 64})
    assert found["vectors"] == TextEmbedding(64)(texts).tolist() and found["dimension"] == 64
    assert found["method"] == served.stranger.get("/ml/models").json()["embedding"]["method"]
    assert len(posted(served.stranger, "embeddings", {"texts": ["rain"]})["vectors"][0]) == 512


def test_models_are_what_is_loaded(served: Served, model: GenerativeModel) -> None:
    found = served.stranger.get("/ml/models").json()["generative"]
    assert (found["name"], found["horizon"], found["policies"], found["precision"]) == ("umbrella", 2, 4, "float32")
    assert found["arrays"] == {name: list(x.shape) for name, x in model.tensors().items()}
    assert found["arrays"]["A_3"] == [1, 3, 4, 2] and found["modalities"][3]["depends_on"] == ["regime", "carrying"]
    assert [factor["actions"] for factor in found["factors"]] == [["none"], ["take", "leave"]]


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("drift", '{"stream": "bad", "values": [1, %s]}'),
        ("anomaly", '{"stream": "bad", "vectors": [[1, %s]]}'),
        ("salience", '{"inputs": [{"surprise": %s}]}'),
        ("salience", '{"inputs": [{}], "modulators": {"dopamine": %s}}'),
    ],
)
@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999", '"1"', "true", "1e151"])
def test_numbers_that_are_none_are_refused(served: Served, path: str, body: str, number: str) -> None:
    response = served.client.post(f"/ml/{path}", content=body % number, headers=JSON)
    assert response.status_code == 422, response.text
    assert response.json()["detail"] and "Traceback" not in response.text


@pytest.mark.parametrize(
    ("path", "body", "said"),
    [
        ("drift", {"stream": "bad", "values": []}, "values"),
        ("drift", {"stream": "a/b", "values": [1.0]}, "stream"),
        ("drift", {"stream": "x" * 201, "values": [1.0]}, "stream"),
        ("drift", {"stream": "bad", "values": [1.0], "k": 1}, "k"),
        ("drift", {"stream": "bad", "values": [0.0] * 501}, "values"),
        ("anomaly", {"stream": "bad", "vectors": [[]]}, "vectors"),
        ("anomaly", {"stream": "bad", "vectors": [[0.0] * 129]}, "vectors"),
        ("salience", {"inputs": []}, "inputs"),
        ("salience", {"inputs": [{"relevance": 1.5}]}, "relevance"),
        ("salience", {"inputs": [{"surprise": -1}]}, "surprise"),
        ("salience", {"inputs": [{}], "modulators": {"caffeine": 0.5}}, "caffeine"),
        ("embeddings", {"texts": "one text"}, "texts"),
        ("embeddings", {"texts": ["x"], "dimension": 0}, "dimension"),
        ("embeddings", {"texts": ["x"], "dimension": 4097}, "dimension"),
        ("embeddings", {"texts": ["x" * 2001]}, "texts"),
    ],
)
def test_what_a_request_must_not_say(served: Served, path: str, body: Any, said: str) -> None:
    response = served.client.post(f"/ml/{path}", json=body)
    assert response.status_code == 422 and said in response.json()["detail"], response.text


def test_half_of_a_character_is_no_text(served: Served) -> None:
    response = served.client.post("/ml/embeddings", content='{"texts": ["\\ud800"]}', headers=JSON)
    assert response.status_code == 422, response.text


def test_no_refused_call_began_a_stream(served: Served) -> None:
    served.client.post("/ml/drift", content='{"stream": "never", "values": [1, 2, NaN]}', headers=JSON)
    served.stranger.post("/ml/drift", json={"stream": "never", "values": [1.0]})
    assert drift(served.client, "never", [1.0])["seen"] == 1


def test_what_changes_something_asks_for_the_token(served: Served) -> None:
    calls = (
        ("POST", "drift", {"stream": "x", "values": [1.0]}),
        ("DELETE", "drift/x", None),
        ("POST", "anomaly", {"stream": "x", "vectors": [[1.0]]}),
        ("DELETE", "anomaly/x", None),
    )
    for method, path, body in calls:
        response = served.stranger.request(method, f"/ml/{path}", json=body)
        assert response.status_code == 401 and response.headers["www-authenticate"] == "Bearer", (method, path)


def test_a_replica_is_killed_and_the_streams_are_there(served: Served) -> None:
    assert drift(served.client, "survivor", steady(20))["seen"] == 20
    (pid,) = [pid for pid, cmd in descendants(served.process.pid).items() if cmd.startswith("ray::ServeReplica:ml:")]
    os.kill(pid, signal.SIGKILL)
    asked, end = 0, time.monotonic() + 90
    while True:
        asked += 1
        response = served.client.post("/ml/drift", json={"stream": "survivor", "values": [10.0]})
        if response.status_code == 200:
            break
        assert response.status_code in (500, 503) and "Traceback" not in response.text, response.text
        assert time.monotonic() < end, response.text
        time.sleep(0.2)
    # What was not answered may have been taken all the same; what was answered is there.
    assert 21 <= response.json()["seen"] <= 20 + asked
    assert pid not in descendants(served.process.pid)


def test_health(served: Served) -> None:
    assert served.stranger.get("/ml/health").json() == {"status": "ok"}
    assert served.stranger.get("/ml/ready").json() == {"ready": True, "reasons": []}
    status = served.stranger.get("/ml/status").json()
    assert (status["service"], status["actor"], status["durable"]) == ("ml", "streams", False)
