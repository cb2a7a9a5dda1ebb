"""Which node is to be the coordinator of a model, and which layers go where: a function of what is known.

Nothing is reserved by it. Whoever follows a plan takes a slot of the coordinator's node and leases the servers; if
another was faster, the facts have changed and the next plan is made of them.
"""

from __future__ import annotations

from collections.abc import Sequence

from .arguments import server_arguments
from .capacity import tables
from .facts import Node
from .model_sizes import ModelSizes
from .plans import DoesNotFit, Plan
from .policies import POLICIES, billions
from .ranking import Ranker, order
from .servers import check_endpoints, find_servers

__all__ = ["plan"]


def plan(
    nodes: Sequence[Node],
    model: ModelSizes,
    context: int,
    policy: str = "exact",
    *,
    file: str,
    port: int,
    compute: int = 0,
) -> Plan:
    """The best node to be the coordinator of the model, with the split of its layers. The order of nodes is nothing.

    context: tokens of cache; policy: ``exact`` or ``total-memory``; file: the model's path, the same on all nodes;
    port: of the coordinator on its node's loopback; compute: bytes of a device's compute buffer, which llama.cpp tells
    when it has loaded the model: until then it is 0, and must fit into what is held in reserve.

    ``total-memory`` takes the node with the best score above zero; but what would not start, because its layers have no
    room or its servers are not to be had, is no plan in either policy.

    Raises DoesNotFit if no node can be it; ValueError for a context that the model was not trained for, another policy,
    two nodes of one name, two devices behind one endpoint, and, in ``total-memory``, a name that does not say a size.
    """
    _check(nodes, model, context, policy, compute)
    units = tables(model, context, compute)
    servers = find_servers(nodes, units, compute)
    ranker = Ranker(file, units, servers, billions(model.name) if policy == "total-memory" else None)
    ranking = tuple(sorted(map(ranker.rank, nodes), key=order))
    if not ranking or not ranking[0].feasible:
        raise DoesNotFit(model.name, context, ranking, servers.left_out)
    best = next(node for node in nodes if node.name == ranking[0].node)
    chosen = ranker.split(best)
    arguments = server_arguments(file, port, context, chosen)
    return Plan(model.name, file, context, policy, best.name, chosen, arguments, ranking, servers.left_out)


def _check(nodes: Sequence[Node], model: ModelSizes, context: int, policy: str, compute: int) -> None:
    if not 1 <= context <= model.context:
        raise ValueError(f"a context of {context} tokens; write 1 to {model.context}, as {model.name} was trained for")
    if policy not in POLICIES:
        raise ValueError(f"policy {policy!r}; write one of {', '.join(POLICIES)}")
    if compute < 0:
        raise ValueError(f"a compute buffer of {compute} bytes; write 0 or more")
    names = {node.name for node in nodes}
    if len(names) < len(nodes):
        twice = sorted(name for name in names if sum(node.name == name for node in nodes) > 1)
        raise ValueError(f"more than one node is called {twice[0]!r}; write names that differ")
    check_endpoints(nodes)
