"""Codecs: one module a payload format, each `decode(message, payload, source, memory) -> Decoded`."""

from __future__ import annotations

from ingest.codecs import ember_json, json_map
from ingest.codecs.contract import Decode

CODECS: dict[str, Decode] = {
    "ember-json": ember_json.decode,
    "json-map": json_map.decode,
}

#: Names that are promised to the outside and not built yet: refused with a line of their own.
PLANNED: frozenset[str] = frozenset(
    {
        "zigbee2mqtt",
        "homeassistant",
        "chirpstack",
        "tts",
        "sparkplug-b",
        "senml-json",
        "senml-cbor",
        "tasmota",
        "homie",
        "shelly",
        "thingsboard",
        "ctwing",
        "huawei-iotda",
        "onenet",
        "onem2m",
        "cloudevents",
        "gb26875",
        "milesight-gs524n",
        "milesight-em300",
        "dragino-lht65",
        "tg563a",
    }
)
