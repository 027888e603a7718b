"""What is remembered of Sparkplug's edge nodes between messages: births, aliases, sequence numbers. Pure.

All of it lies in one CodecMemory: {"size": entries, "nodes": {"group/node": node}}, the node heard last at the end.
"""

from __future__ import annotations

from typing import TypedDict, cast

from ingest.codecs.contract import CodecMemory
from ingest.codecs.sparkplug_payload import Metric
from ingest.readings import MINUTE

#: Bounds, so that invented names cannot fill the memory: edge nodes, and metrics and devices of one and of all.
NODES, OF_NODE, OF_ALL = 5_000, 5_000, 100_000
NAME_LIMIT = 100  #: of a metric; a longer name is no quantity of ours
#: A node that did not answer is asked again after this long.
ASK_AGAIN = MINUTE


class Node(TypedDict):
    """One edge node."""

    born: bool
    bd_seq: int | None  #: of its birth; a death with another one belongs to an earlier session
    seq: int | None  #: of its last message
    asked: int | None  #: when a rebirth was asked for (µs), None since a birth
    #: By alias, or by `device/name` where the name alone does not say all: "datatype|unit|name".
    metrics: dict[str, str]
    devices: dict[str, bool]  #: under it, and whether they are alive


def node(memory: CodecMemory, key: str) -> Node:
    """The node of this `group/node`, new where nobody heard of it; the one heard longest ago makes room."""
    nodes = cast(dict[str, Node], memory.setdefault("nodes", {}))
    found = nodes.pop(key, None)
    if found is None:
        found = Node(born=False, bd_seq=None, seq=None, asked=None, metrics={}, devices={})
    nodes[key] = found
    if len(nodes) > NODES:
        _forget_oldest(memory)
    return found


def forget_metrics(memory: CodecMemory, of: Node) -> None:
    """A new birth of the node: aliases mean something else from now on."""
    _count(memory, -len(of["metrics"]))
    of["metrics"].clear()


def learn(memory: CodecMemory, of: Node, device: str, metric: Metric, *, known_wins: bool) -> None:
    """A metric with its name: what later messages may leave out. `known_wins` for messages that a broker kept."""
    known_wins = known_wins or not metric.datatype  # no birth: those tell the type
    short = len(metric.name) <= NAME_LIMIT
    told = f"{metric.datatype}|{metric.unit[:20].replace('|', '')}|{metric.name if short else ''}"
    if metric.alias is not None:
        _keep(memory, of, of["metrics"], str(metric.alias), told, known_wins)
    if (metric.unit or 1 <= metric.datatype <= 4) and short:
        _keep(memory, of, of["metrics"], f"{device}/{metric.name}", told, known_wins)


def recall(of: Node, device: str, metric: Metric) -> str | None:
    """What was learnt of this metric: "datatype|unit|name"; None for nothing."""
    if metric.name:
        return of["metrics"].get(f"{device}/{metric.name}") if of["metrics"] else None
    return of["metrics"].get(str(metric.alias))


def alive(memory: CodecMemory, of: Node, device: str, is_alive: bool) -> None:
    """Remembers a device, so that it can be told offline with its node."""
    if device in of["devices"] or _has_room(memory, of):
        _count(memory, device not in of["devices"])
        of["devices"][device] = is_alive


def may_ask(of: Node, received_at: int) -> bool:
    """Whether to ask for a rebirth now; not twice within a minute without a birth."""
    if of["asked"] is not None and abs(received_at - of["asked"]) < ASK_AGAIN:
        return False
    of["asked"] = received_at
    return True


def _keep(memory: CodecMemory, of: Node, into: dict[str, str], key: str, told: str, known_wins: bool) -> None:
    if key in into:
        if not known_wins:
            into[key] = told
    elif _has_room(memory, of):
        into[key] = told
        _count(memory, 1)


def _has_room(memory: CodecMemory, of: Node) -> bool:
    """Whether one more entry of this node may be kept; nodes heard longest ago make room for it."""
    if len(of["metrics"]) + len(of["devices"]) >= OF_NODE:
        return False
    while _size(memory) >= OF_ALL:
        if not _forget_oldest(memory):
            return False
    return True


def _forget_oldest(memory: CodecMemory) -> bool:
    nodes = cast(dict[str, Node], memory["nodes"])
    if len(nodes) < 2:  # the last one is being heard
        return False
    forgotten = nodes.pop(next(iter(nodes)))
    _count(memory, -len(forgotten["metrics"]) - len(forgotten["devices"]))
    return True


def _size(memory: CodecMemory) -> int:
    return cast(int, memory.get("size", 0))


def _count(memory: CodecMemory, more: int) -> None:
    memory["size"] = _size(memory) + more
