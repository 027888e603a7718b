"""Who may push: every platform's proof, and what it hears back."""

from __future__ import annotations

import base64
import hashlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.push import FRESH, Accepted, Refused, check
from ingest.readings import HOUR, SECOND

TOKEN = "abcdefghijkmln"
NONCE = "C1z3?giR"
#: As the platform wrote it, with a space and an escape that a second encoding would lose.
MSG = '{"at":1555904805407, "imei":"861931046156398","type":1,"ds_id":"3300_0_5700","value":"a\\/b"}'
NOW = 1_757_698_241 * SECOND


def onenet_signature(msg: str, nonce: str = NONCE, token: str = TOKEN) -> str:
    return base64.b64encode(hashlib.md5((token + nonce + msg).encode()).digest()).decode()


def huawei_signature(timestamp: str, nonce: str = NONCE, token: str = TOKEN) -> str:
    return hashlib.sha256("".join(sorted((token, timestamp, nonce))).encode()).hexdigest()


def ask(
    kind: str,
    body: bytes = b"",
    *,
    secret: str = TOKEN,
    headers: dict[str, str] | None = None,
    query: dict[str, str] | None = None,
    now: int | None = NOW,
) -> Accepted | Refused:
    return check(kind, secret=secret, headers=headers or {}, query=query or {}, body=body, now=now)


def refusal(said: Accepted | Refused) -> str:
    assert isinstance(said, Refused)
    assert TOKEN not in said.reason
    return said.reason


def classic(msg: str = MSG, **more: str) -> bytes:
    rest = {"msg_signature": onenet_signature(msg), "nonce": NONCE} | more
    return f'{{"msg":{msg},{json.dumps(rest)[1:]}'.encode()


@pytest.mark.parametrize("kind", ["onenet", "huawei-iotda", "ctwing", "onem2m", "json-map"])
def test_without_a_secret_nobody_may_push(kind: str) -> None:
    headers = {"Authorization": "Bearer "}
    assert "no secret is set" in refusal(ask(kind, classic(), secret="", headers=headers, query={"token": ""}))


def test_onenet_signs_the_bytes_of_the_message() -> None:
    body = classic()
    assert ask("onenet", body) == Accepted(body=body)


def test_onenet_signs_many_messages_at_once() -> None:
    body = classic(f"[{MSG},{MSG}]")
    assert ask("onenet", body) == Accepted(body=body)


def test_onenet_studio_signs_the_text_of_the_message() -> None:
    text = json.dumps({"messageType": "lifeCycle", "deviceName": "库房"}, ensure_ascii=False)
    push = {"msg": text, "nonce": NONCE, "signature": onenet_signature(text), "time": 1, "id": "1"}
    body = json.dumps(push).encode()
    assert ask("onenet", body) == Accepted(body=body)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (
            classic(MSG.replace("861931046156398", "861931046156399"), msg_signature=onenet_signature(MSG)),
            "does not fit",
        ),
        (classic(nonce="C1z3?giS"), "does not fit"),
        (classic(msg_signature=onenet_signature(MSG, token="other")), "does not fit"),
        (classic(msg_signature=""), "no msg, nonce or signature"),
        (b'{"msg":{},"msg_signature":"x"}', "no msg, nonce or signature"),
        (b'{"enc_msg":"x","nonce":"y","msg_signature":"z"}', "encrypted"),
        (b'{"msg":{},"nonce":1,"msg_signature":"x"}', "no push of OneNET"),
        (b"[]", "no push of OneNET"),
        (b'{"msg":"\xff"}', "no push of OneNET"),
        (b"[" * 100_000, "no push of OneNET"),
    ],
)
def test_what_onenet_did_not_sign_is_refused(body: bytes, reason: str) -> None:
    assert reason in refusal(ask("onenet", body))


def test_onenet_checks_the_address_and_hears_its_message() -> None:
    query = {"msg": "Kq3x", "nonce": NONCE, "signature": onenet_signature("Kq3x")}
    assert ask("onenet", query=query) == Accepted(body=None, answer=b"Kq3x")
    assert "does not fit" in refusal(ask("onenet", query=query | {"msg": "Kq3y"}))
    assert "no msg" in refusal(ask("onenet", query={"msg": "Kq3x", "nonce": NONCE}))


def test_a_plus_in_the_signature_may_arrive_as_a_space() -> None:
    msg = next(text for text in map(str, range(1000)) if "+" in onenet_signature(text))
    query = {"msg": msg, "nonce": NONCE, "signature": onenet_signature(msg).replace("+", " ")}
    assert ask("onenet", query=query) == Accepted(body=None, answer=msg.encode())


def test_huawei_signs_its_headers() -> None:
    stamp = str(NOW // SECOND * 1000)
    headers = {"Timestamp": stamp, "NONCE": NONCE, "signature": huawei_signature(stamp)}
    assert ask("huawei-iotda", b"{}", headers=headers) == Accepted(body=b"{}")
    assert ask("huawei-iotda", b"{}", headers=headers, now=None) == Accepted(body=b"{}")
    assert "does not fit" in refusal(ask("huawei-iotda", b"{}", headers=headers | {"NONCE": "x"}))
    assert "does not fit" in refusal(ask("huawei-iotda", b"{}", headers=headers, secret="other"))
    assert "without the headers" in refusal(ask("huawei-iotda", b"{}", headers={"signature": "x"}))


@pytest.mark.parametrize("scale", [1, 1000])
def test_an_old_signature_of_huawei_is_no_proof(scale: int) -> None:
    for age, fresh in ((FRESH - HOUR, True), (FRESH + HOUR, False), (-FRESH - HOUR, False)):
        stamp = str((NOW - age) // SECOND * scale)
        headers = {"timestamp": stamp, "nonce": NONCE, "signature": huawei_signature(stamp)}
        said = ask("huawei-iotda", b"{}", headers=headers)
        assert isinstance(said, Accepted) is fresh
    assert "clocks" in refusal(said)


def test_huawei_without_a_signature_may_bring_a_token() -> None:
    assert "no header signature" in refusal(ask("huawei-iotda", b"{}"))
    assert ask("huawei-iotda", b"{}", query={"token": TOKEN}) == Accepted(body=b"{}")
    assert "not the one" in refusal(ask("huawei-iotda", b"{}", query={"token": "guess"}))


@pytest.mark.parametrize("kind", ["ctwing", "thingsboard"])
def test_who_signs_nothing_brings_a_token(kind: str) -> None:
    assert ask(kind, b"{}", query={"token": TOKEN}) == Accepted(body=b"{}")
    assert ask(kind, b"{}", headers={"AUTHORIZATION": f"bearer {TOKEN}"}) == Accepted(body=b"{}")
    assert "no token" in refusal(ask(kind, b"{}"))
    assert "not the one" in refusal(ask(kind, b"{}", query={"token": TOKEN[:-1]}))
    assert "not the one" in refusal(ask(kind, b"{}", headers={"authorization": "Bearer x"}, query={"token": TOKEN}))


def test_onem2m_hears_that_its_notification_arrived() -> None:
    body = b'{"m2m:sgn":{"nev":{"rep":{}},"sur":"a/b"}}'
    said = ask("onem2m", body, query={"token": TOKEN}, headers={"X-M2M-RI": "rq-17"})
    assert said == Accepted(body=body, headers={"X-M2M-RSC": "2000", "X-M2M-RI": "rq-17"})


def test_onem2m_verifies_its_subscription_and_nothing_is_logged() -> None:
    body = b'{"m2m:sgn": {"vrq": true, "sur": "Mobius/AE-Test/SensorWind6/SubWind6"}}'
    said = ask("onem2m", body, query={"token": TOKEN})
    assert said == Accepted(body=None, headers={"X-M2M-RSC": "2000"})
    assert "no token" in refusal(ask("onem2m", body))


@pytest.mark.parametrize("request_id", ["a\r\nSet-Cookie: x", "x" * 201, "é"])
def test_a_request_id_cannot_write_headers(request_id: str) -> None:
    said = ask("onem2m", b"{}", query={"token": TOKEN}, headers={"x-m2m-ri": request_id})
    assert said == Accepted(body=b"{}", headers={"X-M2M-RSC": "2000"})


texts = st.text(max_size=12) | st.sampled_from([TOKEN, NONCE, "\ud800", "1757698241", "9" * 5000, "Bearer x"])


@given(
    kind=st.sampled_from(["onenet", "huawei-iotda", "ctwing", "onem2m"]),
    headers=st.dictionaries(st.sampled_from(["signature", "timestamp", "nonce", "authorization", "x-m2m-ri"]), texts),
    query=st.dictionaries(st.sampled_from(["msg", "nonce", "signature", "token"]), texts),
    body=st.binary(max_size=60)
    | st.sampled_from([b"", classic(), b'{"m2m:sgn":{"vrq":1}}', b'{"m2m:sgn":[]}', b"null"]),
)
def test_no_stranger_gets_in_and_nothing_raises(
    kind: str, headers: dict[str, str], query: dict[str, str], body: bytes
) -> None:
    said = check(kind, secret="another secret", headers=headers, query=query, body=body, now=NOW)
    assert isinstance(said, Refused)
    assert said.reason.isprintable()
