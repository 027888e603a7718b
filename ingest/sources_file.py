"""sources.yaml: which topic filters are taken in, checked, every problem at once with its file and line."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Sequence
from importlib import resources
from pathlib import Path

from ingest.codecs import CODECS
from ingest.codecs.frames import FRAMES
from ingest.codecs.json_path import parse_path
from ingest.codecs.naming import INVENTORY, parse_naming
from ingest.codecs.times import zone_of
from ingest.codecs.values import NAME_LIMIT
from ingest.configfile import ConfigFile, read_config_text
from ingest.rates import LEAST_PER_MINUTE
from ingest.readings import QUANTITIES, STATES
from ingest.sources import DEVICE_PER_MINUTE, GATEWAY_PER_MINUTE, PUSH, Clock, Source, Sources
from ingest.topics import overlap, valid_filter

#: Where in the file: keys and indexes from the top.
_Path = tuple[str | int, ...]

SHARD_OF = {Clock.RECEIVED: "main", Clock.OBSERVED: "recording"}
_SHARD = re.compile(r"[a-z0-9][a-z0-9_-]{0,31}", re.ASCII)
_PUSHED = re.compile(r"[\w.-]{1,64}")  # as in the scope push:NAME of a token
_KEYS = tuple(Source.__struct_fields__)
_FIELDS = (*QUANTITIES, *STATES)
#: Keys that only a codec with a mapping takes: the native format finds them in its topic and payload.
_MAPPING_KEYS = ("site", "device", "gateway", "time", "fields")


def load_sources(path: Path | None) -> Sources:
    """The sources of this file, of the packaged default without one; ConfigError with every problem at once."""
    if path is None:
        packaged = resources.files("ingest") / "defaults" / "sources.yaml"
        return parse_sources(packaged.read_text(encoding="utf-8"), "packaged sources.yaml")
    return parse_sources(read_config_text(path), str(path))


def parse_sources(text: str, name: str) -> Sources:
    """The sources of this YAML text; ConfigError with every problem at once, each as `name:line: …`."""
    file = ConfigFile(text, name)
    entries = _entries(file)
    sources = [_source(file, index, entry) for index, entry in enumerate(entries)]
    _check_together(file, sources)
    file.finish()
    return Sources(sources=tuple(sources), text=text)


def _entries(file: ConfigFile) -> list[dict[str, object]]:
    top = file.data
    if not isinstance(top, dict) or not isinstance(top.get("sources"), list) or not top["sources"]:
        file.problem("no sources; write sources: and at least one {filter: …, codec: …} below it")
        return []
    for key in top:
        if key != "sources":
            file.problem(f"unknown key {key}; this file has sources: only", key)
    for index, entry in enumerate(top["sources"]):
        if not isinstance(entry, dict):
            file.problem("a source is a mapping such as {filter: …, codec: …}", "sources", index)
    return [entry if isinstance(entry, dict) else {} for entry in top["sources"]]


def _source(file: ConfigFile, index: int, entry: dict[str, object]) -> Source:
    at = ("sources", index)
    if not entry:
        return Source(filter="", codec="")
    for key in entry:
        if key not in _KEYS:
            file.problem(f"unknown key {key}{_guess(key, _KEYS)}", *at, key)
    clock = _clock(file, entry, at)
    source = Source(
        filter=_text(file, entry, at, "filter"),
        codec=_text(file, entry, at, "codec"),
        shard=_text(file, entry, at, "shard") or SHARD_OF[clock],
        urgent=_flag(file, entry, at, "urgent"),
        clock=clock,
        enrol=_enrol(file, entry, at),
        site=_text(file, entry, at, "site"),
        device=_text(file, entry, at, "device"),
        time=_text(file, entry, at, "time"),
        zone=_text(file, entry, at, "zone") or "UTC",
        fields=_fields(file, entry, at),
        gateway=_text(file, entry, at, "gateway"),
        rate_per_minute=_rate(file, entry, at, "rate_per_minute", DEVICE_PER_MINUTE),
        gateway_rate_per_minute=_rate(file, entry, at, "gateway_rate_per_minute", GATEWAY_PER_MINUTE),
        frame=_text(file, entry, at, "frame"),
        secret_file=_text(file, entry, at, "secret_file"),
    )
    _check_alone(file, source, entry, at)
    return source


def _clock(file: ConfigFile, entry: dict[str, object], at: _Path) -> Clock:
    stated = entry.get("clock", Clock.RECEIVED.value)
    if stated in set(Clock):
        return Clock(str(stated))
    file.problem(f"clock: {stated!r} is none{_guess(str(stated), tuple(Clock))}", *at, "clock")
    return Clock.RECEIVED


def _text(file: ConfigFile, entry: dict[str, object], at: _Path, key: str) -> str:
    stated = entry.get(key, "")
    if isinstance(stated, str):
        return stated
    file.problem(f"{key}: {stated!r} is no text; put it into quotes", *at, key)
    return ""


def _flag(file: ConfigFile, entry: dict[str, object], at: _Path, key: str) -> bool:
    stated = entry.get(key, False)
    if isinstance(stated, bool):
        return stated
    file.problem(f"{key}: {stated!r} is neither true nor false", *at, key)
    return False


def _enrol(file: ConfigFile, entry: dict[str, object], at: _Path) -> bool | tuple[str, ...]:
    stated = entry.get("enrol", False)
    if isinstance(stated, bool):
        return stated
    if not isinstance(stated, list) or not stated:
        file.problem(f"enrol: {stated!r} is neither true, false nor a list such as [00158d*, shed-7/*]", *at, "enrol")
        return False
    for index, pattern in enumerate(stated):
        if not isinstance(pattern, str) or not pattern or not pattern.isprintable() or len(pattern) > 2 * NAME_LIMIT:
            help_ = "write a device id or site/id, in quotes, where * stands for anything"
            file.problem(f"enrol: {pattern!r} is no pattern; {help_}", *at, "enrol", index)
    return tuple(pattern for pattern in stated if isinstance(pattern, str) and pattern)


def _rate(file: ConfigFile, entry: dict[str, object], at: _Path, key: str, default: int) -> int:
    stated = entry.get(key, default)
    if isinstance(stated, int) and not isinstance(stated, bool) and (stated == 0 or stated >= LEAST_PER_MINUTE):
        return stated
    help_ = f"write readings a minute, {LEAST_PER_MINUTE} or more, or 0 for no limit"
    file.problem(f"{key}: {stated!r} is no limit; {help_}", *at, key)
    return default


def _fields(file: ConfigFile, entry: dict[str, object], at: _Path) -> dict[str, str | None]:
    stated = entry.get("fields", {})
    if not isinstance(stated, dict):
        file.problem("fields: maps names to paths, such as {temperature: $.temp}", *at, "fields")
        return {}
    fields: dict[str, str | None] = {}
    for name, path in stated.items():
        if name not in _FIELDS:
            file.problem(f"fields: unknown quantity or state {name}{_guess(name, _FIELDS)}", *at, "fields", name)
        elif path is None:
            fields[name] = None
        elif not isinstance(path, str):
            file.problem(f"fields: {name}: {path!r} is no path; write one such as $.{name}", *at, "fields", name)
        elif entry.get("codec") != "json-map" or _problem_of(
            file, f"fields: {name}", parse_path, path, (*at, "fields", name)
        ):
            fields[name] = path
    return fields


def _problem_of(file: ConfigFile, key: str, read: Callable[[str], object], text: str, at: _Path) -> bool:
    """Note what `read` has against this text; True when nothing."""
    try:
        read(text)
    except ValueError as error:
        file.problem(f"{key}: {error}", *at)
        return False
    return True


def _check_alone(file: ConfigFile, source: Source, entry: dict[str, object], at: _Path) -> None:
    if not source.filter:
        file.problem("filter is missing; name the topics, such as zigbee2mqtt/#", *at)
    elif wrong := valid_filter(source.filter):
        file.problem(wrong, *at, "filter")
    _check_push(file, source, at)
    _check_codec(file, source, entry, at)
    if not _SHARD.fullmatch(source.shard):
        help_ = "use at most 32 of a-z, 0-9, - and _, beginning with a letter or digit"
        file.problem(f"shard {source.shard!r} cannot be a folder's name; {help_}", *at, "shard")
    _problem_of(file, "zone", zone_of, source.zone, (*at, "zone"))
    _problem_of(file, "site", parse_naming, source.site, (*at, "site"))
    _problem_of(file, "device", parse_naming, source.device, (*at, "device"))
    _check_gateway(file, source, at)
    if source.frame and source.frame not in FRAMES:
        file.problem(f"frame: {source.frame} is no device frame{_guess(source.frame, tuple(FRAMES))}", *at, "frame")
    if source.time:
        _problem_of(file, "time", parse_path, source.time, (*at, "time"))


def _check_push(file: ConfigFile, source: Source, at: _Path) -> None:
    if source.filter.partition("/")[0] == PUSH and not _PUSHED.fullmatch(source.pushed):
        file.problem(f"filter {source.filter} names no push; write push/NAME of letters, digits, . _ -", *at, "filter")
    elif source.secret_file and not source.pushed:
        file.problem("secret_file: only a source with filter push/NAME has one; remove the key", *at, "secret_file")
    elif source.pushed and source.codec == "ember-json":
        help_ = "json-map would read such payloads from a push"
        file.problem(f"codec ember-json finds site and device in MQTT topics alone; {help_}", *at, "codec")


def _check_gateway(file: ConfigFile, source: Source, at: _Path) -> None:
    if source.gateway == INVENTORY or source.gateway.startswith("$"):
        help_ = "only a topic can vouch for a gateway: write topic:2, or its id where there is one alone"
        file.problem(f"gateway: {source.gateway!r} is what a device says of itself; {help_}", *at, "gateway")
    elif _problem_of(file, "gateway", parse_naming, source.gateway, (*at, "gateway")):
        levels = source.filter.split("/")
        if levels[-1] != "#" and parse_naming(source.gateway).level > len(levels):
            file.problem(f"gateway: {source.filter} has {len(levels)} levels, not {source.gateway}", *at, "gateway")


def _check_codec(file: ConfigFile, source: Source, entry: dict[str, object], at: _Path) -> None:
    if not source.codec:
        file.problem(f"codec is missing; known: {', '.join(CODECS)}", *at)
    elif source.codec not in CODECS:
        file.problem(f"unknown codec {source.codec}{_guess(source.codec, tuple(CODECS))}", *at, "codec")
    elif source.codec == "json-map":
        _check_mapping(file, source, at)
    elif source.codec == "ember-json":
        for key in _MAPPING_KEYS:
            if key in entry:
                file.problem(f"{key}: {source.codec} finds this by itself; remove the key", *at, key)


def _check_mapping(file: ConfigFile, source: Source, at: _Path) -> None:
    if source.device in ("", INVENTORY):
        file.problem("device: json-map must know it; write $.path, topic:2 or the id itself", *at, "device")
    if source.enrol and source.site in ("", INVENTORY):
        file.problem("enrol: unknown devices need a site; write site: as $.path, topic:2 or a name", *at, "enrol")
    if not any(source.fields.values()):
        file.problem("fields: nothing is mapped; write at least one such as {temperature: $.temp}", *at, "fields")


def _check_together(file: ConfigFile, sources: list[Source]) -> None:
    clocks: dict[str, tuple[Clock, str]] = {}
    for index, source in enumerate(sources):
        clock, where = clocks.setdefault(source.shard, (source.clock, file.where("sources", index)))
        if clock is not source.clock:
            other = "name another shard for one of them"
            file.problem(f"shard {source.shard} runs on clock {clock} ({where}); {other}", "sources", index, "clock")
        for earlier_index, earlier in enumerate(sources[:index]):
            _check_pair(file, source, earlier, index, earlier_index)


def _check_pair(file: ConfigFile, source: Source, earlier: Source, index: int, earlier_index: int) -> None:
    where = file.where("sources", earlier_index)
    if not source.filter or not earlier.filter:
        return
    if source.filter == earlier.filter:
        file.problem(f"filter {source.filter} stands twice ({where}); keep one", "sources", index, "filter")
    elif (source.urgent, source.shard) != (earlier.urgent, earlier.shard) and overlap(source.filter, earlier.filter):
        kind = "are of two shards" if source.shard != earlier.shard else "only one is urgent"
        both = f"{source.filter} and {earlier.filter} ({where}) overlap and {kind}"
        file.problem(f"{both}; a message would arrive twice: narrow one filter", "sources", index, "filter")


def _guess(key: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(key, known, n=1)
    return f"; did you mean {near[0]}?" if near else f"; known: {', '.join(known)}"
