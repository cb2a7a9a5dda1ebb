"""``/v1`` over HTTP, on a real llama-server: OpenAI's chat completions, whole and streamed, and what is refused."""

from __future__ import annotations

import json
import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from described import check_described
from llama_programs import llama_server
from processes import descendants, python, wait_until
from served import Served, serving

#: Of tests; the others' answers depend on how many tokens the tiny model finds.
MODEL = "tiny"


@pytest.fixture(scope="module")
def chat(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path) -> Iterator[Served]:
    """``cognitive serve --models`` of a folder with the tiny model, and a file that is none."""
    folder = tmp_path_factory.mktemp("chat")
    models = folder / "models"
    models.mkdir()
    (models / "tiny.gguf").write_bytes(tiny_model.read_bytes())
    (models / "broken.gguf").write_bytes(b"GGUF and no more")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LLAMA_SERVER", llama_server())
        with serving(folder, "--models", str(models)) as served:
            yield served


def asked(**changes: Any) -> dict[str, Any]:
    return {
        "model": MODEL,
        "messages": [{"role": "user", "content": "abc"}],
        "max_tokens": 8,
        "temperature": 0.0,
    } | changes


def events_of(answer: httpx.Response) -> list[str]:
    return [line.removeprefix("data: ") for line in answer.iter_lines() if line.startswith("data: ")]


def test_models_are_those_that_can_be_asked_for(chat: Served) -> None:
    found = chat.stranger.get("/v1/models").json()
    assert [model["id"] for model in found["data"]] == [MODEL]
    assert found["object"] == "list"


def test_a_whole_answer_and_a_stream_say_the_same(chat: Served) -> None:
    whole = chat.client.post("/v1/chat/completions", json=asked(), timeout=120)
    assert whole.status_code == 200, whole.text
    answer = whole.json()
    assert answer["object"] == "chat.completion"
    assert answer["model"] == MODEL
    assert answer["usage"]["completion_tokens"] <= 8
    with chat.client.stream("POST", "/v1/chat/completions", json=asked(stream=True)) as streamed:
        assert streamed.status_code == 200
        assert streamed.headers["content-type"].startswith("text/event-stream")
        events = events_of(streamed)
    assert events[-1] == "[DONE]"
    chunks = [json.loads(event) for event in events[:-1]]
    assert {chunk["object"] for chunk in chunks} == {"chat.completion.chunk"}
    text = "".join(choice["delta"].get("content") or "" for chunk in chunks for choice in chunk["choices"])
    assert text == answer["choices"][0]["message"]["content"]


def test_usage_comes_where_it_is_asked_for(chat: Served) -> None:
    def last(**options: Any) -> dict[str, Any]:
        with chat.client.stream("POST", "/v1/chat/completions", json=asked(stream=True, **options)) as streamed:
            return dict(json.loads(events_of(streamed)[-2]))

    assert last(stream_options={"include_usage": True})["usage"]["completion_tokens"] >= 1
    assert last()["choices"]


@pytest.mark.parametrize(
    ("changes", "status", "said"),
    [
        ({"model": "another"}, 404, "'another'"),
        ({"model": "broken"}, 422, "broken.gguf"),
        ({"messages": []}, 422, "messages"),
        ({"messages": [{"role": "poet", "content": "abc"}]}, 422, "role"),
        ({"temperature": -1}, 422, "temperature"),
        # More than the model's context holds: llama-server itself refuses.
        ({"messages": [{"role": "user", "content": "abc " * 2000}]}, 400, "context"),
    ],
)
def test_what_cannot_be_answered_is_refused_in_words(
    chat: Served, changes: dict[str, Any], status: int, said: str
) -> None:
    for stream in (False, True):
        answer = chat.client.post("/v1/chat/completions", json=asked(stream=stream, **changes), timeout=120)
        assert answer.status_code == status, answer.text
        assert answer.headers["content-type"] == "application/problem+json"
        assert said in answer.json()["detail"]


def test_a_stranger_asks_in_vain(chat: Served) -> None:
    assert chat.stranger.post("/v1/chat/completions", json=asked()).status_code == 401


def test_ready_and_status_say_what_is_served(chat: Served) -> None:
    assert chat.client.post("/v1/chat/completions", json=asked(), timeout=120).status_code == 200
    assert chat.stranger.get("/v1/ready").json() == {"ready": True, "reasons": []}
    status = chat.stranger.get("/v1/status").json()
    (pool,) = status["pools"]
    assert pool["model"] == MODEL
    assert pool["layers"] == {}


def test_a_server_that_is_killed_is_replaced(chat: Served) -> None:
    assert chat.client.post("/v1/chat/completions", json=asked(), timeout=120).status_code == 200
    (pid,) = [pid for pid, command in descendants(chat.process.pid).items() if "--alias" in command]
    os.kill(pid, signal.SIGKILL)
    assert chat.client.post("/v1/chat/completions", json=asked(), timeout=120).status_code == 200


def test_a_client_that_leaves_makes_room(chat: Served) -> None:
    for _ in range(3):
        with chat.client.stream("POST", "/v1/chat/completions", json=asked(stream=True, max_tokens=400)) as streamed:
            next(streamed.iter_lines())
    assert chat.client.post("/v1/chat/completions", json=asked(), timeout=60).status_code == 200


def test_more_than_may_wait_are_told_to_come_again(chat: Served) -> None:
    statuses: list[int] = []

    def ask() -> None:
        answer = chat.client.post("/v1/chat/completions", json=asked(max_tokens=300), timeout=120)
        statuses.append(answer.status_code)
        if answer.status_code == 429:
            assert int(answer.headers["retry-after"]) >= 1

    threads = [threading.Thread(target=ask) for _ in range(24)]
    # Its turn lasts until one of the others was told: they need not come faster than answers.
    long = asked(stream=True, max_tokens=4000, ignore_eos=True)
    with chat.client.stream("POST", "/v1/chat/completions", json=long) as streamed:
        next(streamed.iter_lines())
        for thread in threads:
            thread.start()
        wait_until(lambda: 429 in statuses, chat.process)
    for thread in threads:
        thread.join()
    assert set(statuses) == {200, 429}, statuses
    # Those that waited.
    assert statuses.count(200) >= 8


def test_every_operation_of_chat_is_as_it_is_described(chat: Served, tmp_path: Path) -> None:
    # No model has the names that are made up.
    check_described(chat, "/v1", "5 selected / 5 total", ("2xx", "401", "404"), tmp_path)


def test_models_of_a_cluster_are_not_served_by_a_folder(tmp_path: Path) -> None:
    process = python("-m", "cognitive_actors", "serve", "--models", str(tmp_path), "--address", "10.255.255.1:1")
    _, said = process.communicate(timeout=120)
    assert process.returncode == 2, said
    assert "cognitive register" in said
