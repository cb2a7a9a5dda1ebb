"""Runs one job on the cluster, as the main process of its unit: what it prints is the job's log, its end is the job's.

    ray_job.py --address http://HEAD:8265 --name NAME [options] -- ENTRYPOINT

The job is submitted through Ray's Jobs API as NAME-DIGEST-ATTEMPT, where the digest is that of all that the job is. So
a unit that starts again, after a reboot or a switch, finds the job that it began: it follows one that runs, and does
not begin again one that has succeeded. With --each-time every start of the unit is a job of its own. Jobs of this name
that still run, and are others, are stopped first: their unit was killed.

A job that fails is tried again after a pause that doubles, --retries times. SIGTERM stops the job; a stopped job is
begun anew by the next start. A head that is away is waited for, and the log goes on where it was.

Exit codes: 0 the job has succeeded, or SIGTERM has stopped it; 1 it has failed; 65 the head refuses it as it is; 69 the
head does not answer any more; 75 it took longer than --timeout; 76 somebody else has stopped it.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import itertools
import json
import os
import re
import secrets
import signal
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TypeVar

import aiohttp
import requests
from ray.exceptions import AuthenticationError
from ray.job_submission import JobDetails, JobStatus, JobSubmissionClient

SUCCEEDED, FAILED, REFUSED, AWAY, TIMED_OUT, STOPPED = 0, 1, 65, 69, 75, 76
#: Where the pauses between attempts end. The choice of Kubernetes.
LONGEST_PAUSE = 360.0
POLL_SECONDS = 1.0
#: Ray gives the entrypoint 3 s to end before it is killed (RAY_JOB_STOP_WAIT_TIME_S).
STOP_SECONDS = 15.0
#: The key of a job's metadata that says whose it is.
NAME = "ray-nixos/job"
_AWAY = (requests.RequestException, ConnectionError, aiohttp.ClientError, OSError)
T = TypeVar("T")


class Ended(Exception):
    """The job has not succeeded: the exit code, and why."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code


class Terminated(BaseException):
    """SIGTERM or SIGINT. Nothing that waits for an error may take it for one."""


@dataclass(frozen=True)
class Job:
    """What is run. submission: the arguments of JobSubmissionClient.submit_job; pause: seconds before the first retry;
    timeout: seconds for all attempts together; patience: seconds for a head that does not answer; history: finished
    jobs of this name that the head remembers; start: what tells starts apart that begin a job each."""

    name: str
    submission: dict[str, Any]
    retries: int = 0
    pause: float = 10.0
    timeout: float | None = None
    patience: float = 600.0
    history: int = 5
    start: str = ""

    def id(self, attempt: int) -> str:
        """The submission id of an attempt, the same for the same job."""
        return f"{self._stem}-{attempt}"

    def has(self, submission_id: str) -> bool:
        """Whether an id is that of an attempt at this very job."""
        return submission_id.rpartition("-")[0] == self._stem

    @property
    def _stem(self) -> str:
        text = json.dumps([self.submission, self.start], sort_keys=True)
        return f"{self.name}-{hashlib.sha256(text.encode()).hexdigest()[:12]}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the job to its end; the exit code is in the module's text."""
    address, job = _parse(arguments)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _terminate)
    try:
        Run(job, address).to_its_end()
    except Ended as end:
        _say(str(end))
        return end.code
    except Terminated:
        pass
    return SUCCEEDED


class Run:
    """The way of a job through its attempts."""

    def __init__(self, job: Job, address: str) -> None:
        self._job, self._address = job, address
        self._client: JobSubmissionClient | None = None
        self._deadline = float("inf") if job.timeout is None else time.monotonic() + job.timeout

    def to_its_end(self) -> None:
        """Make all attempts that are due. Raises Ended unless one succeeds."""
        self._ask(self._end_others)
        failures = 0
        for attempt in itertools.count():
            id_ = self._job.id(attempt)
            details = self._ask(lambda api, id_=id_: self._found_or_submitted(api, id_))  # type: ignore[misc]
            watched = not details.status.is_terminal()
            if watched:
                details = self._followed(id_)
            if details.status == JobStatus.SUCCEEDED:
                _say(f"{id_} has succeeded{'' if watched else f' before; `ray job delete {id_}` forgets it'}")
                return self._forget_old()
            if details.status == JobStatus.FAILED:
                failures += 1
                self._failed(id_, details.message or "", failures, watched)
            elif watched:
                raise Ended(STOPPED, f"{id_} was stopped; the next start of this unit begins it anew")

    def _end_others(self, api: JobSubmissionClient) -> None:
        for details in self._others(api):
            if not details.status.is_terminal():
                _say(f"{details.submission_id} still runs without its unit, and is stopped")
                self._stop(str(details.submission_id))

    def _others(self, api: JobSubmissionClient) -> list[JobDetails]:
        """What the head knows of jobs of this name that are not this one."""
        ours = [x for x in api.list_jobs() if (x.metadata or {}).get(NAME) == self._job.name]
        return [x for x in ours if not self._job.has(str(x.submission_id))]

    def _found_or_submitted(self, api: JobSubmissionClient, id_: str) -> JobDetails:
        found = _details(api, id_)
        if found is None:
            try:
                api.submit_job(submission_id=id_, metadata={NAME: self._job.name}, **self._job.submission)
            except RuntimeError as error:
                # The answer of an earlier try may have been lost on its way.
                if "already exists" not in str(error):
                    raise
            else:
                _say(f"{id_} is submitted")
            found = _details(api, id_)
        if found is None:
            raise ConnectionError(f"the head has forgotten {id_}")
        return found

    def _followed(self, id_: str) -> JobDetails:
        """Print what the job prints until it is over."""
        shown = 0
        try:
            while True:
                with suppress(*_AWAY, RuntimeError):
                    shown = asyncio.run(self._tail(id_, shown))
                details = self._ask(lambda api: _details(api, id_))
                if details is None:
                    raise Ended(FAILED, f"{id_} is unknown to the head: it has lost its state, or the job was deleted")
                if details.status.is_terminal():
                    return details
                if time.monotonic() > self._deadline:
                    self._stop(id_)
                    raise Ended(TIMED_OUT, f"{id_} is stopped: the job took longer than {self._job.timeout:g} s")
                time.sleep(POLL_SECONDS)
        except Terminated:
            self._stop(id_)
            _say(f"{id_} is stopped")
            raise

    async def _tail(self, id_: str, shown: int) -> int:
        """Print the log from a character on, until it ends or the time is up; how much was shown."""
        position = 0
        with suppress(TimeoutError):
            async with asyncio.timeout(min(self._deadline - time.monotonic(), 3600)):
                async for text in self._connect().tail_job_logs(id_):
                    print(text[max(shown - position, 0) :], end="", flush=True)
                    position += len(text)
        return max(position, shown)

    def _failed(self, id_: str, message: str, failures: int, watched: bool) -> None:
        why = message.strip().splitlines()[0] if message.strip() else "it says no more"
        if failures > self._job.retries:
            raise Ended(FAILED, f"{id_} has failed: {why}")
        if watched:
            pause = min(self._job.pause * 2.0 ** min(failures - 1, 30), LONGEST_PAUSE)
            _say(f"{id_} has failed: {why}; it is tried again in {pause:g} s, {failures} of {self._job.retries}")
            if time.monotonic() + pause > self._deadline:
                raise Ended(TIMED_OUT, f"the job took longer than {self._job.timeout:g} s")
            time.sleep(pause)

    def _stop(self, id_: str) -> None:
        end = time.monotonic() + STOP_SECONDS
        with suppress(*_AWAY, RuntimeError):
            api = self._connect()
            api.stop_job(id_)
            while time.monotonic() < end:
                details = _details(api, id_)
                if details is None or details.status.is_terminal():
                    return
                time.sleep(0.2)

    def _forget_old(self) -> None:
        """Delete what the head remembers of the oldest jobs of this name."""
        with suppress(*_AWAY, RuntimeError):
            api = self._connect()
            old = [x for x in self._others(api) if x.status.is_terminal()]
            for details in sorted(old, key=lambda x: -(x.end_time or 0))[max(self._job.history - 1, 0) :]:
                api.delete_job(str(details.submission_id))

    def _ask(self, question: Callable[[JobSubmissionClient], T]) -> T:
        """The head's answer; one that is away is waited for. Raises Ended if it stays away, or says no."""
        end, said = time.monotonic() + self._job.patience, False
        while True:
            try:
                return question(self._connect())
            except AuthenticationError as error:
                reason = str(error).strip().splitlines()[0]
                raise Ended(REFUSED, f"the head at {self._address} does not take our token: {reason}") from None
            except (ValueError, TypeError) as error:
                raise Ended(REFUSED, f"the job cannot be submitted: {error}") from None
            except (*_AWAY, RuntimeError) as error:
                if isinstance(error, RuntimeError) and _http_status(error) in (400, 404):
                    raise Ended(REFUSED, f"the head at {self._address} refuses the job: {_last(error)}") from None
                if time.monotonic() > min(end, self._deadline):
                    raise Ended(AWAY, f"the head at {self._address} does not answer: {_last(error)}") from None
                if not said:
                    _say(f"waiting for the head at {self._address}: {_last(error)}")
                said = True
                time.sleep(POLL_SECONDS)

    def _connect(self) -> JobSubmissionClient:
        if self._client is None:
            self._client = JobSubmissionClient(self._address)
        return self._client


def _details(api: JobSubmissionClient, id_: str) -> JobDetails | None:
    try:
        return api.get_job_info(id_)
    except RuntimeError as error:
        if _http_status(error) == 404:
            return None
        raise


def _http_status(error: RuntimeError) -> int:
    """The status in what Ray's client raises, 0 where it says none."""
    found = re.match(r"Request failed with status code (\d+)", str(error))
    return int(found[1]) if found else 0


def _last(error: BaseException) -> str:
    """The line of an error that says what is wrong: the head sends its whole traceback."""
    return next((line.strip() for line in reversed(str(error).splitlines()) if line.strip(" .")), type(error).__name__)


def _terminate(*_: object) -> None:
    raise Terminated


def _say(text: str) -> None:
    print(f"ray-job: {text}", file=sys.stderr, flush=True)


def _parse(arguments: Sequence[str] | None) -> tuple[str, Job]:
    parser = argparse.ArgumentParser(prog="ray-job", description="Runs a job on a Ray cluster as a systemd service.")
    parser.add_argument("--address", required=True, help="the head's dashboard, http://HOST:PORT")
    parser.add_argument("--name", required=True, help="what the job is called")
    parser.add_argument("--runtime-env", type=json.loads, default={}, metavar="JSON", help="Ray's runtime environment")
    parser.add_argument("--cpus", type=float, help="CPUs that are reserved for the entrypoint")
    parser.add_argument("--gpus", type=float, help="GPUs, likewise")
    parser.add_argument("--memory", type=int, help="bytes of memory, likewise")
    parser.add_argument("--resources", type=json.loads, metavar="JSON", help="custom resources, likewise")
    parser.add_argument("--retries", type=int, default=Job.retries, help="attempts after the first")
    parser.add_argument("--pause", type=float, default=Job.pause, help="seconds before the first retry")
    parser.add_argument("--timeout", type=float, help="seconds for all attempts together")
    parser.add_argument("--patience", type=float, default=Job.patience, help="seconds for a head that is away")
    parser.add_argument("--history", type=int, default=Job.history, help="finished jobs that the head remembers")
    parser.add_argument("--each-time", action="store_true", help="each start of the unit is a job of its own")
    parser.add_argument("entrypoint", help="-- the shell command that Ray runs")
    options = parser.parse_args(arguments)
    reserved = {
        "entrypoint_num_cpus": options.cpus,
        "entrypoint_num_gpus": options.gpus,
        "entrypoint_memory": options.memory,
        "entrypoint_resources": options.resources,
    }
    submission = {
        "entrypoint": options.entrypoint,
        "runtime_env": options.runtime_env,
        **{name: value for name, value in reserved.items() if value is not None},
    }
    chosen = {name: getattr(options, name) for name in ("retries", "pause", "timeout", "patience", "history")}
    # systemd's number of this start of the unit.
    start = os.environ.get("INVOCATION_ID") or secrets.token_hex(16) if options.each_time else ""
    return options.address, Job(options.name, submission, start=start, **chosen)


if __name__ == "__main__":
    sys.exit(main())
