"""Three nodes that run a tiny model together: raylets, real RPC servers, and reports that a test chooses."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from threading import Event, Lock, Thread
from typing import Any

import pytest
import ray
from llama_programs import RpcServer, llama_server, rpc_servers, running, waited
from ports import free_port
from raylets import Raylet, raylets
from tiny_gguf import tiny_tensors, write_gguf
from waiting import until

from cognitive_actors.llama.registry import node_registry
from cognitive_actors.llama.reports import DeviceReport, ModelReport, NodeReport
from cognitive_actors.placement import read_sizes
from cognitive_actors.placement.capacity import COORDINATOR, GIB, HALF_GIB

NAMES = ("north", "east", "south")
MODEL = "tiny"
BUILD = "of the tests"
#: Tokens of the tiny model's cache, as it was trained for.
CONTEXT = 512
#: Of the model.
LAYERS, WIDTH = 8, 512


@dataclass
class Machines:
    """The nodes. endpoints: of their RPC servers; model: path of the file that all can read.

    What a test has them report is reported again and again, as by real heartbeats: a stale node serves nobody.
    """

    raylets: dict[str, Raylet]
    servers: dict[str, RpcServer]
    model: Path
    directory: Path
    lost: set[str] = field(default_factory=set)
    _reports: dict[str, NodeReport] = field(default_factory=dict)
    _reporting: Lock = field(default_factory=Lock)

    @property
    def endpoints(self) -> dict[str, str]:
        return {name: server.endpoint for name, server in self.servers.items()}

    def name_of(self, endpoint: str) -> str:
        """The node of an RPC server."""
        return next(name for name, each in self.endpoints.items() if each == endpoint)

    def failures(self, name: str) -> int:
        """How often a coordinator has failed on a node of late, as the registry knows it."""
        known = ray.get(node_registry().known.remote())
        return int(next(each.failures for each in known if each.report.name == name))

    def kill_server(self, name: str) -> None:
        self.servers[name].kill()

    @contextmanager
    def hung_server(self, name: str) -> Iterator[None]:
        """It takes connections and answers nothing, while this lasts. Then it ends."""
        self.servers[name].hang()
        try:
            yield
        finally:
            self.servers[name].kill()

    def report(
        self,
        coordinators: Collection[str] = ("north",),
        rooms: Mapping[str, int] | None = None,
        roomy: Collection[str] = (),
        without: str | None = None,
    ) -> None:
        """All nodes report to a registry that has forgotten what it knew. RPC servers that have ended begin again, as
        with their units.

        coordinators: that have the model's file, on which no layer fits unless they are roomy; rooms: units that the
        RPC server of each node has room for, seven of the nine on east and on south unless said: compute buffers,
        which are known once the model has been loaded, take three of them.
        """
        if without is not None:
            self.lost.add(without)
        rooms = {"east": 7, "south": 7} if rooms is None else rooms
        there = [name for name in NAMES if name not in self.lost]
        with self._reporting:
            _forget()
            for server in self.servers.values():
                if server.process.poll() is not None:
                    server.start()
            self._reports = {name: self._report(name, name in coordinators, rooms, name in roomy) for name in there}
        self.beat()

    def beat(self) -> None:
        """All nodes report again; an RPC server that has ended is in no report any more."""
        with self._reporting:
            for name, report in self._reports.items():
                runs = self.servers[name].process.poll() is None
                report = report if runs else replace(report, devices=())
                ray.get(node_registry().report.remote(report))

    @contextmanager
    def beating(self) -> Iterator[None]:
        """They report every five seconds meanwhile."""
        stop = Event()

        def go_on() -> None:
            while not stop.wait(5):
                self.beat()

        thread = Thread(target=go_on)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()

    def alone(self, messages: Sequence[Mapping[str, Any]], **parameters: Any) -> str:
        """What a llama-server says that has nobody beside it."""
        port = free_port()
        log = self.directory / f"alone-{port}.log"
        command = (llama_server(), "-m", str(self.model), "--host", "127.0.0.1", "--port", str(port))
        options = ("-c", str(CONTEXT), "-np", "1", "--offline", "-ngl", "0")
        with running(log, *command, *options) as process:
            waited(process, log, "listening on http")
            body = json.dumps({"messages": messages, **parameters}).encode()
            asked = urllib.request.Request(
                f"http://127.0.0.1:{port}/v1/chat/completions", body, {"Content-Type": "application/json"}
            )
            with urllib.request.urlopen(asked, timeout=60) as answer:
                return str(json.load(answer)["choices"][0]["message"]["content"])

    def _report(self, name: str, coordinates: bool, rooms: Mapping[str, int], roomy: bool) -> NodeReport:
        sizes = read_sizes(self.model)
        unit = max(sizes.blocks) + sizes.cache(CONTEXT)
        models = (
            ModelReport(MODEL, str(self.model), sizes=sizes),
            ModelReport("other", str(self.model), sizes=sizes),
            ModelReport("unfit", "/models/unfit.gguf", unfit="its architecture is not known"),
        )
        room = rooms.get(name, 0)
        free = HALF_GIB + (int((room + 0.9) * unit) if room else 0)
        # Not its RAM, so that what it has room for is not what the coordinator has.
        device = DeviceReport("CPU", self.servers[name].endpoint, free, free, BUILD, gpu="a GPU, for the planner")
        available = GIB + COORDINATOR + sizes.host + int(0.9 * unit) + (LAYERS * 2 * unit if roomy else 0)
        return NodeReport(
            name,
            self.raylets[name].id,
            "127.0.0.1",
            BUILD if coordinates else "",
            2 * GIB,
            available,
            devices=(device,),
            models=models if coordinates else (),
        )


def _forget() -> None:
    """Have the registry begin anew."""
    before = ray.get(node_registry().ready.remote())["pid"]
    ray.kill(node_registry(), no_restart=False)
    until(lambda: ray.get(node_registry().ready.remote())["pid"] != before, "another start of the registry")


def _model(directory: Path) -> Path:
    """A model whose layers are larger than the buffers that it is computed in, so that they decide what fits."""
    keys = {
        "block_count": LAYERS,
        "embedding_length": WIDTH,
        "feed_forward_length": WIDTH,
        "attention.head_count": 8,
        "attention.head_count_kv": 8,
        "rope.dimension_count": WIDTH // 8,
    }
    return write_gguf(directory / "model.gguf", tiny_tensors(LAYERS, width=WIDTH, inner=WIDTH, kv=WIDTH), keys)


@contextmanager
def machines(directory: Path) -> Iterator[Machines]:
    """The nodes north, east and south."""
    with ExitStack() as ends, pytest.MonkeyPatch.context() as patch:
        # The nodes' processes look there.
        patch.setenv("LLAMA_SERVER", llama_server())
        servers = dict(zip(NAMES, ends.enter_context(rpc_servers(directory, len(NAMES))), strict=True))
        offered = {name: (server.endpoint,) for name, server in servers.items()}
        nodes = ends.enter_context(raylets(offered, directory))
        found = Machines(nodes, servers, _model(directory), directory)
        with found.beating():
            yield found
