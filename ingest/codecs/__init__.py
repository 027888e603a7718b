"""Codecs: one module a payload format, each `decode(message, payload, source, memory) -> Decoded`."""

from __future__ import annotations

from ingest.codecs import (
    chirpstack,
    cloudevents,
    ctwing,
    ember_json,
    gb26875,
    homeassistant,
    homie,
    huawei_iotda,
    json_map,
    onem2m,
    onenet,
    senml,
    shelly,
    sparkplug_b,
    tasmota,
    thingsboard,
    tts,
    zigbee2mqtt,
)
from ingest.codecs.contract import PAYLOAD_LIMIT, Decode
from ingest.codecs.frames import dragino_lht65, milesight_em300, milesight_gs524n, tg563a, yobiiq_sd1001

CODECS: dict[str, Decode] = {
    "ember-json": ember_json.decode,
    "json-map": json_map.decode,
    "gb26875": gb26875.decode,
    "zigbee2mqtt": zigbee2mqtt.decode,
    "sparkplug-b": sparkplug_b.decode,
    "chirpstack": chirpstack.decode,
    "tts": tts.decode,
    "milesight-gs524n": milesight_gs524n.decode,
    "milesight-em300": milesight_em300.decode,
    "dragino-lht65": dragino_lht65.decode,
    "tg563a": tg563a.decode,
    "yobiiq-sd1001": yobiiq_sd1001.decode,
    "homeassistant": homeassistant.decode,
    "homie": homie.decode,
    "shelly": shelly.decode,
    "thingsboard": thingsboard.decode,
    "cloudevents": cloudevents.decode,
    "senml-json": senml.decode_json,
    "senml-cbor": senml.decode_cbor,
    "tasmota": tasmota.decode,
    "ctwing": ctwing.decode,
    "huawei-iotda": huawei_iotda.decode,
    "onenet": onenet.decode,
    "onem2m": onem2m.decode,
}


def payload_limit(codec: str, topic: str) -> int:
    """The largest payload this codec reads on this topic, in bytes."""
    return zigbee2mqtt.payload_limit(topic) if codec == "zigbee2mqtt" else PAYLOAD_LIMIT
