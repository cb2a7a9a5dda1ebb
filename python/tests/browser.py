"""A real browser without a window, for the time of a test. It keeps nothing, and asks no one but whom it is sent to."""

from __future__ import annotations

import functools
import importlib.util
import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from selenium.webdriver import Chrome

# Program: the Debian package that has it.
_PROGRAMS = {"chromium": "chromium", "chromedriver": "chromium-driver"}
_INSTALL_TIMEOUT = 600
_FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
#: Until a page shows what it is to show. Only a page that never does takes so long.
SHOWN_SECONDS = 60.0


@functools.cache
def missing() -> str | None:
    """Why there is no browser here; None where there is one.

    On Debian and Ubuntu root gets missing programs installed first.
    """
    if importlib.util.find_spec("selenium") is None:
        return "selenium is not installed: pip install selenium"
    lacking = _lacking()
    if lacking and os.geteuid() == 0 and shutil.which("apt-get"):
        _apt_install(lacking)
        lacking = _lacking()
    return f"no browser to drive: install {', '.join(lacking)}" if lacking else None


def _lacking() -> list[str]:
    return [package for program, package in _PROGRAMS.items() if shutil.which(program) is None]


def _apt_install(packages: list[str]) -> None:
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for arguments in (["update"], ["install", "--yes", "--no-install-recommends", *packages]):
        command = ["apt-get", "--quiet", *arguments]
        subprocess.run(
            command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, timeout=_INSTALL_TIMEOUT
        )


class Browser:
    """A window with one page at a time."""

    def __init__(self, driver: Chrome) -> None:
        self.driver = driver

    def open(self, url: str) -> None:
        self.driver.get(url)

    def text(self, selector: str) -> str:
        """What people read there, the whole of it in one string; nothing where there is no such element."""
        script = "return document.querySelector(arguments[0])?.textContent ?? ''"
        return str(self.driver.execute_script(script, selector))

    def texts(self, selector: str) -> list[str]:
        script = "return [...document.querySelectorAll(arguments[0])].map(each => each.textContent)"
        return [str(text) for text in self.driver.execute_script(script, selector)]

    def run(self, script: str) -> Any:
        return self.driver.execute_script(script)

    def click(self, selector: str, text: str) -> None:
        """Click the element of that text, as a person does."""
        found = self.driver.find_elements("css selector", selector)
        (one,) = [each for each in found if each.get_property("textContent") == text]
        one.click()

    def press_up(self) -> None:
        """Press the arrow key upwards, where the keyboard is."""
        from selenium.webdriver import Keys

        self.driver.switch_to.active_element.send_keys(Keys.ARROW_UP)

    def until(self, condition: Callable[[], Any]) -> None:
        """Wait until the page shows it; fails with what the page shows."""
        from selenium.common.exceptions import TimeoutException
        from selenium.webdriver.support.wait import WebDriverWait

        try:
            WebDriverWait(self.driver, SHOWN_SECONDS, 0.05).until(lambda _: condition())
        except TimeoutException:
            raise AssertionError(self.text("body")) from None

    def complaints(self) -> list[str]:
        """What the browser has complained of since it was asked last: errors of scripts, what a policy forbids. What
        an answer says by its status is none."""
        return [entry["message"] for entry in self._log("browser") if entry["source"] != "network"]

    def asked(self) -> list[str]:
        """Every address on a network that the browser has asked since it was asked last, whatever for."""
        messages = [json.loads(entry["message"])["message"] for entry in self._log("performance")]
        sent = [each["params"]["request"] for each in messages if each["method"] == "Network.requestWillBeSent"]
        # Its own pages have addresses, too.
        return [str(each["url"]) for each in sent if each["url"].startswith(("http:", "https:", "ws:", "wss:"))]

    def _log(self, name: str) -> list[dict[str, Any]]:
        return list(self.driver.get_log(name))  # type: ignore[no-untyped-call]


@contextmanager
def browser(directory: Path) -> Iterator[Browser]:
    """A browser with nothing in it, whose files are in the directory."""
    from selenium.webdriver import Chrome, ChromeOptions, ChromeService

    options = ChromeOptions()
    options.binary_location = str(shutil.which("chromium"))
    for flag in (*_FLAGS, f"--user-data-dir={directory / 'profile'}", "--window-size=1280,1000"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    # With the paths of both, selenium looks for nothing itself.
    service = ChromeService(str(shutil.which("chromedriver")), env={**os.environ, "SE_OFFLINE": "true"})
    driver = Chrome(options=options, service=service)
    try:
        yield Browser(driver)
    finally:
        driver.quit()
