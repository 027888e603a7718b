"""Sparkplug B 3.0: births, data and deaths of edge nodes and their devices. Pure.

Device ids: the device's name in the topic, for messages of an edge node itself the node's name. Quantities and
states by the metrics' usual names (usual_names.py) and the source's `fields`, {our name: metric name}. `seq` counts
an edge node's messages, not a device's, and is not reported. Without a topic (`-`) a payload is read as data.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from ingest.codecs import sparkplug_nodes as nodes
from ingest.codecs.contract import CodecMemory, Decoded, Request, UndecodableYet
from ingest.codecs.gathered import Gathered, Key
from ingest.codecs.json_text import shown
from ingest.codecs.naming import placed
from ingest.codecs.sparkplug_nodes import Node
from ingest.codecs.sparkplug_payload import Metric, Payload, number, read, rebirth_request
from ingest.codecs.times import from_number
from ingest.codecs.usual_names import Fields, Meaning, meaning
from ingest.codecs.values import name as id_of
from ingest.errors import Undecodable
from ingest.message import Message
from ingest.readings import Observation

if TYPE_CHECKING:
    from ingest.sources import Source

_NAMESPACE = "spBv1.0"
_BIRTHS = frozenset({"NBIRTH", "DBIRTH"})
_COMMANDS = frozenset({"NCMD", "DCMD"})
_OF_NODE = frozenset({"NBIRTH", "NDATA", "NDEATH", "NCMD"})
_OF_DEVICE = frozenset({"DBIRTH", "DDATA", "DDEATH", "DCMD"})
_SCHEME = f"{_NAMESPACE}/group/NBIRTH/node, …/DDATA/node/device and the like would be"
_TOPIC_LIMIT = 1_000
_NOTHING = Decoded()


class _Topic(NamedTuple):
    kind: str  #: NBIRTH …, STATE
    node: str  #: `group/node`, unique among brokers' edge nodes
    device: str
    rebirth: str  #: where its rebirth is asked for


def decode(message: Message, payload: bytes, source: Source, memory: CodecMemory) -> Decoded:
    """One observation for each time its metrics state. STATE and commands carry none.

    UndecodableYet, which asks for a rebirth, when nothing of it is known without the births.
    """
    topic = _topic(message.topic) if len(message.topic) <= _TOPIC_LIMIT else _refused(message.topic)
    kind = topic.kind
    if kind == "STATE" or kind in _COMMANDS:
        return _NOTHING
    if not payload and kind != "NDEATH":
        raise Undecodable("empty payload; send a Sparkplug B payload")
    body = read(payload)
    node = nodes.node(memory, topic.node)
    if kind == "NDEATH":
        return _node_death(message, body, source, node, topic.device)
    if not body.metrics and body.seq is None and not body.timestamp and kind != "DDEATH":
        raise Undecodable("nothing of Sparkplug B in the payload: no metrics, timestamp or seq; check the source")
    kept = message.retain or message.backlog  # by the broker: its aliases and seq may be of an earlier session
    incomplete = False if kept else _follow(body, node, kind)
    if kind in _BIRTHS:
        _birth(body, node, topic, memory, kept=kept)
    return _told(_Told(message, body, source, node, topic, memory, kept, incomplete))


class _Told(NamedTuple):
    message: Message
    body: Payload
    source: Source
    node: Node
    topic: _Topic
    memory: CodecMemory
    kept: bool
    incomplete: bool  #: something of the node's was missed


def _told(told: _Told) -> Decoded:
    """What the metrics say, and that a device is alive or not."""
    message, body, source, node, topic, _, _, incomplete = told
    at = from_number(body.timestamp) if body.timestamp else None
    gathered = Gathered()
    unknown, known = _gather(told, at, gathered)
    requests: tuple[Request, ...] = ()
    if (incomplete or unknown) and not told.kept and nodes.may_ask(node, message.received_at):
        requests = (Request(topic=topic.rebirth, payload=rebirth_request(message.received_at // 1000)),)
    if unknown and not known:
        reason = f"alias {unknown.alias} and all others of this message are unknown without the birth of"
        raise UndecodableYet(
            f"{reason} {shown(topic.node)}; publish NBIRTH and DBIRTH, or re-drive after them", requests
        )
    if topic.kind in _BIRTHS or topic.kind == "DDEATH":
        is_alive = topic.kind != "DDEATH"
        gathered.add(Key(topic.device, at), "online", is_alive)
        if topic.kind in _OF_DEVICE:
            nodes.alive(told.memory, node, topic.device, is_alive)
    place = placed(source, message.topic, None, topic.device)
    observations = tuple(gathered.sorted({topic.device: place}))
    if not observations:  # nothing of ours in it: whose it was is all there is to say
        observations = (Observation(device=place[1], site=place[0], observed_at=at),)
    return Decoded(observations=observations, requests=requests)


def _gather(told: _Told, at: int | None, gathered: Gathered) -> tuple[Metric | None, bool]:
    """Puts the metrics' values together; a metric nobody can name, and whether any other was understood."""
    device, node = told.topic.device, told.node
    fields: Fields = tuple(told.source.fields.items()) if told.source.fields else ()
    unknown, known = None, False
    for metric in told.body.metrics:
        if metric.name:
            if metric.alias is not None or told.topic.kind in _BIRTHS:
                nodes.learn(told.memory, node, device, metric, known_wins=told.kept)
        elif metric.alias is None:
            continue
        recalled = nodes.recall(node, device, metric)
        if recalled is None and not metric.name:
            unknown = metric
            continue
        known = True
        if metric.value is None:
            continue
        datatype, what = _known(recalled, metric, fields)
        value = number(metric, datatype) if what is not None else None
        if value is None or what is None or what.name == "online":  # births and deaths say that
            continue
        stated = from_number(metric.timestamp) if metric.timestamp else at
        path = _path(metric.name) if metric.name else f"metric {metric.alias}"
        gathered.note(Key(device, stated, metric.historical), what, value, path, told.source.fields)
    return unknown, known


@lru_cache(maxsize=4096)
def _path(name: str) -> str:
    return f"metric {shown(name)}"


def _known(recalled: str | None, metric: Metric, fields: Fields) -> tuple[int, Meaning | None]:
    """Data type and meaning of a metric: what it says itself, else what its birth said."""
    if recalled is None:
        return metric.datatype, meaning(metric.name, metric.unit, fields)
    datatype, unit, name = recalled.split("|", 2)
    return metric.datatype or int(datatype), meaning(metric.name or name, metric.unit or unit, fields)


def _birth(body: Payload, node: Node, topic: _Topic, memory: CodecMemory, *, kept: bool) -> None:
    """A birth of the node begins a session: its aliases replace all others. One without names is data misnamed."""
    if topic.kind != "NBIRTH" or not any(metric.name for metric in body.metrics):
        return
    if not kept:
        nodes.forget_metrics(memory, node)
        node["born"], node["asked"] = True, None
    if not kept or node["bd_seq"] is None:
        node["bd_seq"] = _bd_seq(body)


def _node_death(message: Message, body: Payload, source: Source, node: Node, device: str) -> Decoded:
    """The node and all its devices are offline, unless an earlier session died. Its time is that of the connect."""
    bd_seq = _bd_seq(body)
    if None not in (bd_seq, node["bd_seq"]) and bd_seq != node["bd_seq"]:
        return _NOTHING
    node["born"], node["seq"] = False, None
    site, own = placed(source, message.topic, None, device)
    others = [] if source.device else [other for other, is_alive in node["devices"].items() if is_alive]
    node["devices"].update(dict.fromkeys(others, False))
    return Decoded(
        observations=tuple(Observation(device=gone, site=site, states={"online": False}) for gone in [own, *others])
    )


def _bd_seq(body: Payload) -> int | None:
    found = next((metric.value for metric in body.metrics if metric.name == "bdSeq"), None)
    return found if type(found) is int else None


def _follow(body: Payload, node: Node, kind: str) -> bool:
    """Counts the node's messages; whether some are missing. The same number again is the same message again."""
    last, seq = node["seq"], body.seq
    expected = None if last is None else (last + 1) % 256
    node["seq"] = expected if seq is None else seq % 256  # some encoders leave a 0 out, and nobody counts without
    if kind == "NBIRTH":
        return False
    return not node["born"] or (seq is not None and expected is not None and seq not in (last, expected))


def _refused(topic: str) -> _Topic:
    raise Undecodable(f"topic {shown(topic)} is not of Sparkplug B; {_SCHEME}")


@lru_cache(maxsize=4096)
def _topic(topic: str) -> _Topic:
    if topic == "-":
        return _Topic("DDATA", "-", "-", "-")
    levels = topic.split("/")
    if _NAMESPACE not in levels:
        return _Topic("STATE", "", "", "") if len(levels) == 2 and levels[0] == "STATE" else _refused(topic)
    start = levels.index(_NAMESPACE)
    above, below = levels[:start], levels[start + 1 :]
    if len(below) == 2 and below[0] == "STATE":
        return _Topic("STATE", "", "", "")
    if len(below) not in (3, 4) or below[1] not in (_OF_NODE if len(below) == 3 else _OF_DEVICE):
        return _refused(topic)
    group, kind, node = below[:3]
    for level in (group, *below[2:]):
        id_of(level, f"topic {shown(topic)}")
    rebirth = "/".join([*above, _NAMESPACE, group, "NCMD", node])
    return _Topic(kind, "/".join([*above, group, node]), below[-1], rebirth)
