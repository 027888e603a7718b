"""MQTT_URL."""

from __future__ import annotations

from pathlib import Path

import pytest

from ingest.errors import OperatorError
from ingest.mqtt import BrokerAddress, parse_mqtt_url, tls_context


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("mqtt://127.0.0.1", BrokerAddress(host="127.0.0.1", port=1883)),
        ("mqtt://u%40x:p%3Aw%2F@h:99", BrokerAddress(host="h", port=99, user="u@x", password="p:w/")),
        (
            "mqtts://h?ca=/a%20b.pem&cert=c&key=k",
            BrokerAddress(host="h", port=8883, tls=True, ca="/a b.pem", cert="c", key="k"),
        ),
        ("mqtt://[::1]:1", BrokerAddress(host="::1", port=1)),
    ],
)
def test_a_url_says_where_the_broker_is(url: str, expected: BrokerAddress) -> None:
    assert parse_mqtt_url(url) == expected


@pytest.mark.parametrize(
    "url", ["", "http://h", "mqtt://", "mqtt://h:99999", "mqtt://h:x", "mqtt://h?ca=x", "mqtts://h?insecure=1"]
)
def test_another_url_is_refused_in_one_line(url: str) -> None:
    with pytest.raises(OperatorError, match="MQTT_URL") as caught:
        parse_mqtt_url(url)
    assert "\n" not in str(caught.value)


def test_an_address_is_shown_without_its_password() -> None:
    assert str(parse_mqtt_url("mqtts://me:secret@h")) == "mqtts://h:8883"


def test_a_tls_file_that_is_missing_or_no_certificate_is_named(tmp_path: Path) -> None:
    with pytest.raises(OperatorError, match=r"ca=/none/ca\.pem: no such file"):
        tls_context(BrokerAddress(host="h", port=1, tls=True, ca="/none/ca.pem"))
    wrong = tmp_path / "wrong.pem"
    wrong.write_text("hello")
    with pytest.raises(OperatorError, match="PEM"):
        tls_context(BrokerAddress(host="h", port=1, tls=True, ca=str(wrong)))
