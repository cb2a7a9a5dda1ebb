"""From what nodes report and what the cluster has given away, to the facts that the planner sees. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass, field

from ..placement import Device, ModelSizes, ModelUnfit, Node
from .errors import ModelUnknown
from .options import RouterOptions
from .registry import Known
from .reports import DeviceReport

__all__ = ["Avoided", "Holdings", "Model", "facts", "find_model"]


@dataclass(frozen=True)
class Holdings:
    """What the cluster's scheduler says. slots: free places for coordinators by the id of each living node; leased:
    endpoints of RPC servers that somebody has; offered: endpoints that living nodes have as a resource."""

    slots: Mapping[str, int]
    leased: Set[str]
    offered: Set[str]


@dataclass
class Avoided:
    """What has just failed, and is not to be tried again before the next look: names of nodes, and endpoints."""

    nodes: set[str] = field(default_factory=set)
    endpoints: set[str] = field(default_factory=set)


@dataclass(frozen=True)
class Model:
    """A model as the nodes that have it agree on it. path: on all of them."""

    path: str
    sizes: ModelSizes


def find_model(known: Iterable[Known], name: str) -> Model:
    """The model of a name. Raises ModelUnknown where nobody reports it, ModelUnfit where none that does can be planned
    with, or where they do not mean the same one."""
    reported = [(each.report.name, model) for each in known for model in each.report.models if model.name == name]
    if not reported:
        names = sorted({model.name for each in known for model in each.report.models})
        there_are = f"there are {', '.join(map(repr, names))}" if names else "nor any other"
        raise ModelUnknown(f"no node reports a model {name!r}, {there_are}; see `cognitive nodes`")
    found = {Model(model.path, model.sizes): node for node, model in reported if model.sizes is not None}
    if not found:
        node, model = reported[0]
        raise ModelUnfit(f"{model.path} on {node}: {model.unfit}")
    if len(found) > 1:
        (one, first), (other, second) = list(found.items())[:2]
        differ = f"{one.path} on {first}, {other.path} on {second}"
        raise ModelUnfit(f"model {name!r} is not the same everywhere: {differ}; give them one path and one content")
    return next(iter(found))


def facts(known: Iterable[Known], held: Holdings, options: RouterOptions, avoided: Avoided) -> list[Node]:
    """The nodes as the planner sees them, under what the router may do."""
    return [_node(each, held, options, avoided) for each in known]


def _node(known: Known, held: Holdings, options: RouterOptions, avoided: Avoided) -> Node:
    report = known.report
    devices = tuple(
        _device(device, held)
        for device in report.devices
        if _usable(device.endpoint, held, options) and device.endpoint not in avoided.endpoints | known.shut
    )
    return Node(
        report.name,
        report.address,
        report.build,
        report.total,
        min(report.available, report.total),
        devices,
        frozenset(model.path for model in report.models if not model.shared),
        frozenset(model.path for model in report.models if model.shared),
        alive=report.node in held.slots,
        age=known.age,
        breaker_closed=known.closed and report.name not in avoided.nodes,
        free_slots=held.slots.get(report.node, 0),
        busy=min(1.0, max(0.0, report.busy)),
        recent_failures=known.failures,
        may_coordinate=options.here in (None, report.node),
    )


def _usable(endpoint: str, held: Holdings, options: RouterOptions) -> bool:
    if not options.enable_distributed or endpoint not in held.offered:
        return False
    return options.backends is None or endpoint in options.backends


def _device(device: DeviceReport, held: Holdings) -> Device:
    return Device(
        device.name,
        device.total,
        min(device.free, device.total),
        device.endpoint,
        device.build,
        leased=device.endpoint in held.leased,
        of_ram=device.gpu is None,
    )
