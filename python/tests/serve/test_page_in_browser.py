"""The page at ``/`` as people see it, in a real browser: it follows the organism by itself, and says what is amiss."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import browser
import httpx
import pytest
from browser import Browser
from ports import free_port
from served import Served, initialised, shut_down
from watched import watched

from cognitive_actors.serve import viewers

MARKUP = "<img src=x onerror=\"document.title='broken'\"><b>bold</b>"
FOREIGN = "Überraschung/猫 %2F?#&+"
#: What the umbrella model hardly expects: it is held in the workspace.
STRIKING = {"weather": "fog", "comfort": "soaked", "temperature": "warm"}
PLAIN = {"weather": "rain"}


@pytest.fixture
def page(tmp_path: Path) -> Iterator[Browser]:
    """A browser; at the end it must have nothing to complain of."""
    lacking = browser.missing()
    if lacking is not None:
        pytest.skip(lacking)
    with browser.browser(tmp_path) as opened:
        yield opened
        assert opened.complaints() == []


@pytest.fixture
def organism(served: Served) -> Iterator[Served]:
    """No agents at first, and the agents ready at the end: others need them."""
    shut_down(served.client)
    initialised(served.client)
    yield served
    initialised(served.client)


def live(served: Served, agent: str, time: int, observation: dict[str, str]) -> Any:
    stimulus = {"agent": agent, "time": time, "observation": observation}
    answer = served.client.post("/cognitive/execute", json=stimulus)
    assert answer.status_code == 200, answer.text
    return answer.json()


def opened(page: Browser, client: httpx.Client) -> None:
    page.open(str(client.base_url))
    page.until(lambda: page.text("#state") == "Live")
    # Whatever is shown from now on has come without loading the page again.
    page.run("window.loadedOnce = true")


def shows(page: Browser, overview: dict[str, Any]) -> bool:
    """Whether the page shows these figures, as it writes them."""
    energy = overview["free_energy"]
    wanted = {
        "#agents-total": str(overview["agents"]),
        "#steps": str(overview["steps"]),
        "#free-energy": "–" if energy is None else f"{energy:.3f}",
        "#nodes-alive": str(overview["nodes"]["alive"]),
        "#nodes-dead": str(overview["nodes"]["dead"]),
    }
    for name, level in (overview["modulators"] or {}).items():
        wanted[f'#modulators [data-key="{name}"] .said'] = f"{level['mean']:.3f} ± {level['spread']:.3f}"
    for content in overview["workspace"] or ():
        held = "0 %" if content["salience"] is None else f"100 %, salience {content['salience']:.2f}"
        wanted[f'#workspace [data-key="{content["modality"]}"] .said'] = held
    return all(page.text(selector) == text for selector, text in wanted.items())


def test_the_page_follows_the_organism(organism: Served, page: Browser) -> None:
    opened(page, organism.stranger)
    assert page.text("#agents-total") == "0"
    for time, observation, share in ((0, STRIKING, 1), (3600, PLAIN, 0)):
        live(organism, "one", time, observation)
        overview = organism.stranger.get("/organism/overview").json()
        assert max(content["share"] for content in overview["workspace"]) == share
        page.until(partial(shows, page, overview))
    assert page.run("return document.querySelector('#energy-chart .line').getAttribute('d').length") > 20
    assert page.texts("#modulators .name") == list(overview["modulators"])
    assert page.run("return document.querySelectorAll('#modulators .chart .line[d^=M]').length") == 5
    assert page.run("return window.loadedOnce")
    assert page.text("#age") == "The figures are of this moment"


def test_an_agent_is_chosen_and_followed(organism: Served, page: Browser) -> None:
    live(organism, MARKUP, 0, PLAIN)
    opened(page, organism.stranger)
    page.until(lambda: page.texts("#agents-list label") == [MARKUP])
    live(organism, FOREIGN, 0, STRIKING)
    page.until(lambda: page.texts("#agents-list label") == [MARKUP, FOREIGN])
    for name in (MARKUP, FOREIGN):
        page.click("#agents-list label", name)
        page.until(lambda: page.text('#agent-details [data-key="steps"] .said') == "1")
        assert page.text("#agent-title") == name
        answer = live(organism, name, 3600, STRIKING)
        page.until(lambda: page.text('#agent-details [data-key="steps"] .said') == "2")
        details = page.text("#agent-details")
        for modulator, level in answer["new_state"].items():
            assert f"{modulator}{level:.3f}" in details
        for factor, action in answer["action"].items():
            assert f"{factor}{action}" in details
        for held in answer["broadcast"]["broadcast"]:
            assert f"{held['modality']}{held['salience']:.3f}" in details
        assert "Beliefs: regime" in details
    # Names are text: nothing of them has become an element, or run.
    assert page.run("return document.querySelectorAll('img, b').length") == 0
    assert page.driver.title == "Organism"
    # By the keyboard, too.
    page.run("document.querySelector('#agents-list input:checked').focus()")
    page.press_up()
    page.until(lambda: page.text("#agent-title") == MARKUP and page.text("#agent-details"))


def test_the_page_says_that_there_are_no_agents_until_there_are(organism: Served, page: Browser) -> None:
    live(organism, "one", 0, PLAIN)
    opened(page, organism.stranger)
    page.until(lambda: page.text("#steps") == "1" and page.texts("#agents-list label") == ["one"])
    page.click("#agents-list label", "one")
    page.until(lambda: page.text("#agent-details"))
    organism.client.post("/organism/shutdown")
    page.until(lambda: page.text("#state").startswith("Not initialised: the agents are not initialised"))
    page.until(lambda: page.text("#age").endswith(" old"))
    initialised(organism.client)
    page.until(lambda: page.text("#state") == "Live" and page.text("#steps") == "0")
    page.until(lambda: page.texts("#agents-list label") == [])
    assert page.text("#agents-said") == "There is no agent yet."
    page.until(lambda: "there is no agent 'one'" in page.text("#agent-said") and not page.text("#agent-details"))
    live(organism, "another", 0, PLAIN)
    page.until(lambda: page.texts("#agents-list label") == ["another"])
    assert page.run("return window.loadedOnce")


def test_nobody_else_is_asked(organism: Served, page: Browser) -> None:
    live(organism, "one", 0, PLAIN)
    opened(page, organism.stranger)
    page.until(lambda: page.texts("#agents-list label") == ["one"])
    page.click("#agents-list label", "one")
    page.until(lambda: page.text("#agent-details"))
    loaded = page.run("return performance.getEntriesByType('resource').map(each => each.name)")
    asked = page.asked()
    assert {"/", "/events", "/files/page.js", "/organism/agents"} <= {httpx.URL(each).path for each in asked}
    assert [each for each in (*asked, *loaded) if not each.startswith(str(organism.stranger.base_url))] == []
    # Nor could it be otherwise: the policy refuses what the page does not do.
    markup = "try { document.body.innerHTML = '<p>'; return '' } catch (error) { return error.name }"
    assert page.run(markup) == "TypeError"
    page.run("fetch('http://localhost:9/').catch(() => { window.refused = true })")
    page.until(lambda: page.run("return window.refused"))
    complaints = page.complaints()
    assert all("TrustedHTML" in said or "Content Security Policy" in said for said in complaints), complaints
    assert not any("localhost:9" in each for each in page.asked())


def test_streams_that_end_are_no_loss(page: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(viewers, "STREAM_SECONDS", 0.7)
    with watched(places=1) as here:
        opened(page, here.client)
        page.run("""
            window.states = [];
            const state = document.getElementById('state');
            new MutationObserver(() => window.states.push(state.textContent)).observe(state, {childList: true});
        """)
        seen = int(page.text("#steps"))
        page.until(lambda: int(page.text("#steps")) > seen + 4)
        assert [httpx.URL(each).path for each in page.asked()].count("/events") > 2
        assert page.run("return window.states") == []
        assert page.texts("#workspace .name") == ["<b>weather</b>"]


def test_the_page_says_that_the_connection_is_lost_and_finds_it_again(page: Browser) -> None:
    port = free_port()
    with watched(places=1, port=port) as here:
        opened(page, here.client)
    page.until(lambda: page.text("#state") == "The connection is lost; trying again")
    page.until(lambda: page.text("#age").endswith(" old"))
    with watched(places=1, port=port):
        page.until(lambda: page.text("#state") == "Live")
        page.until(lambda: page.text("#age") == "The figures are of this moment")
        assert page.run("return window.loadedOnce")


def test_who_finds_no_place_is_told_and_comes_in_when_there_is_one(page: Browser) -> None:
    with watched(places=1) as here:
        with here.viewer() as other:
            next(other)
            page.open(str(here.client.base_url))
            page.until(lambda: "all 1 places of viewers are taken" in page.text("#state"))
        page.until(lambda: page.text("#state") == "Live")
