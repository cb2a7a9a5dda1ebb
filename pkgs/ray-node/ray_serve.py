"""Keeps the Serve applications of a configuration deployed, as the main process of a unit (Type=notify).

    ray_serve.py --address http://HEAD:8265 --config FILE

It hands the configuration (serveConfigV2, JSON) to the Serve API, is ready when all applications run, and goes on
watching: a head that comes back without them is given them again. SIGHUP reads the file again: what changed is replaced
by Serve without dropping requests, what is not in it any more is taken down. SIGTERM takes all down.

Exit codes: 0 stopped by SIGTERM; 65 an application does not come up or stays unhealthy, or the head refuses the
configuration; 69 the head did not answer for --patience seconds, or only with faults of its own.

Of the standard library alone, because it stays in memory beside the head.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import signal
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from http.client import HTTPException
from pathlib import Path
from typing import Any

from systemd_notify import notify

FAILED, AWAY = 65, 69
APPLICATIONS = "/api/serve/applications/"
ASK_SECONDS, POLL_SECONDS = 30.0, 1.0
#: What shows that there is no answer, or half of one.
_NO_ANSWER = (OSError, ValueError, HTTPException)
_SIGNALS = {signal.SIGTERM, signal.SIGINT, signal.SIGHUP}


class Ended(Exception):
    """The unit is to end: with this code, for this reason."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code


class Stopped(Exception):
    """SIGTERM."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Keep the applications deployed until SIGTERM; the exit code is in the module's text."""
    options = _parse(arguments)
    # Blocked signals stay pending until they are waited for.
    signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    try:
        return _keep(Keeper(options))
    except Ended as end:
        print(f"ray-serve: {end}", file=sys.stderr)
        notify(STATUS=str(end))
        return end.code


def _keep(keeper: Keeper) -> int:
    try:
        while True:
            keeper.look()
            keeper.wait()
    except Stopped:
        notify(STOPPING="1")
        keeper.take_down()
        return 0


class Keeper:
    """Compares what the head serves with what it should."""

    def __init__(self, options: argparse.Namespace) -> None:
        self._options = options
        self._wanted = _read(options.config)
        self._due = True
        self._was_ready, self._status = False, ""
        self._answered = self._well = time.monotonic()

    def look(self) -> None:
        """Deploy where that is due, and judge what the head says. Raises Ended."""
        try:
            if self._due:
                self._ask("PUT", self._wanted)
                self._due, self._well = False, time.monotonic()
            found = self._ask("GET")["applications"]
        except urllib.error.HTTPError as error:
            said = f"{error.code} {_said(error)}"
            if error.code < 500:
                raise Ended(FAILED, f"the head refuses the configuration: {said}") from None
            # The dashboard is there, and what is behind it not yet or no more.
            self._is_away(said)
            return
        except _NO_ANSWER as error:
            self._is_away(error)
            return
        self._answered = time.monotonic()
        # A head that has lost its state, or somebody who has taken them down.
        self._due = not self._wanted_names <= found.keys()
        self._judge({name: found[name] for name in self._wanted_names & found.keys()})

    def wait(self) -> None:
        """Until the next look, or a signal. Raises Stopped for SIGTERM."""
        number = signal.sigtimedwait(_SIGNALS, POLL_SECONDS)
        if number is None:
            return
        if number.si_signo != signal.SIGHUP:
            raise Stopped
        try:
            self._wanted, self._due, self._was_ready = _read(self._options.config), True, False
        except Ended as end:
            print(f"ray-serve: {end}; what is served stays as it is", file=sys.stderr)

    def take_down(self) -> None:
        """Applications that this configuration brought up, if the head answers at all."""
        try:
            self._ask("PUT", {**self._wanted, "applications": []})
        except _NO_ANSWER as error:
            print(f"ray-serve: not taken down: {error}", file=sys.stderr)

    @property
    def _wanted_names(self) -> set[str]:
        return {str(application["name"]) for application in self._wanted["applications"]}

    def _judge(self, found: Mapping[str, Any]) -> None:
        for name, application in found.items():
            if application["status"] == "DEPLOY_FAILED":
                raise Ended(FAILED, f"application {name!r} does not come up: {_reason(application)}")
        running = {name for name, application in found.items() if application["status"] == "RUNNING"}
        missing = self._wanted_names - running
        if not missing:
            self._well = time.monotonic()
            if not self._was_ready:
                self._was_ready = True
                names = ", ".join(sorted(running)) or "nothing"
                print(f"ray-serve: {names} served", file=sys.stderr)
                self._status = f"{names} served"
                notify(READY="1", STATUS=self._status)
            return
        self._is(f"waiting for {', '.join(sorted(missing))}")
        if time.monotonic() - self._well > self._options.deadline:
            reasons = "; ".join(f"{name} is {found[name]['status']}" for name in sorted(missing & found.keys()))
            raise Ended(FAILED, f"not all applications run after {self._options.deadline:g} s: {reasons}")

    def _is_away(self, error: Exception | str) -> None:
        self._is(f"waiting for the head at {self._options.address}: {error}")
        if time.monotonic() - self._answered > self._options.patience:
            raise Ended(AWAY, f"the head at {self._options.address} does not answer: {error}")
        # What it serves when it is back may be nothing; and that is no fault of the applications.
        self._due, self._well = True, time.monotonic()

    def _is(self, status: str) -> None:
        if status != self._status:
            self._status = status
            notify(STATUS=status)

    def _ask(self, method: str, content: Any = None) -> Any:
        request = urllib.request.Request(self._options.address + APPLICATIONS, method=method)
        token = _token(os.environ)
        if token is not None:
            request.add_header("Authorization", f"Bearer {token}")
        if content is not None:
            request.add_header("Content-Type", "application/json")
            request.data = json.dumps(content).encode()
        # No proxy of the surroundings stands between a head and itself.
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(request, timeout=ASK_SECONDS) as response:
            return json.loads(response.read() or b"null")


def _read(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text())
        names = [application["name"] for application in content["applications"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise Ended(FAILED, f"{path} is no configuration of Serve: {type(error).__name__}: {error}") from None
    if len(set(names)) < len(names):
        raise Ended(FAILED, f"{path} has two applications of one name")
    return dict(content)


def _token(environ: Mapping[str, str]) -> str | None:
    if environ.get("RAY_AUTH_MODE") != "token":
        return None
    return environ.get("RAY_AUTH_TOKEN") or Path(environ["RAY_AUTH_TOKEN_PATH"]).read_text().strip()


def _reason(application: Mapping[str, Any]) -> str:
    """The line that says what was raised: Serve sends the whole trace."""
    deployments = [str(each.get("message") or "") for each in application.get("deployments", {}).values()]
    for message in (*deployments, str(application.get("message") or "")):
        lines = [line.strip() for line in message.splitlines() if line.strip()]
        raised = [line for line in lines if re.match(r"[\w.]*(Error|Exception)\b", line)]
        if lines:
            return (raised or lines)[-1]
    return "Serve does not say why"


def _said(error: urllib.error.HTTPError) -> str:
    body = b""
    with contextlib.suppress(*_NO_ANSWER):
        body = error.read(65536)
    lines = [line.strip() for line in body.decode(errors="replace").splitlines() if line.strip()]
    return lines[-1][:500] if lines else error.reason


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="ray-serve", description="Keeps Serve applications deployed.")
    parser.add_argument("--address", required=True, help="the head's dashboard, http://HOST:PORT")
    parser.add_argument("--config", type=Path, required=True, help="serveConfigV2 as JSON")
    parser.add_argument("--deadline", type=float, default=300.0, help="seconds until all applications must run")
    parser.add_argument("--patience", type=float, default=600.0, help="seconds for a head that is away")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
