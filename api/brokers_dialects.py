"""How each broker asks and wants to be answered. The table at the end is all there is; one pure function a question.

The forms are those of EMQX 5 (HTTP authentication and authorization), of mosquitto-go-auth's http backend and amqtt's
HTTP plugins (which ask alike), and of RabbitMQ's rabbitmq_auth_backend_http.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple
from urllib.parse import parse_qsl

import msgspec

from api.brokers_desk import Desk, Reason, What
from ingest.permissions import Action

Fields = Mapping[str, str]


class Unreadable(Exception):
    """The question is not in the form its dialect has; the message says what would be right, without any value."""


class Answer(NamedTuple):
    """What goes back."""

    status: int
    media_type: str
    body: bytes


class Question(NamedTuple):
    """One question of one kind of broker: the fields it must have, who answers, and in which form."""

    needs: tuple[str, ...]
    ask: Callable[[Desk, Fields], Reason | None]
    answer: Callable[[Reason | None], Answer]


def read_fields(body: bytes, content_type: str) -> Fields:
    """The fields of a question, sent as JSON or as a form. Unreadable for anything else."""
    try:
        if content_type.partition(";")[0].strip().lower() == "application/x-www-form-urlencoded":
            return dict(parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=100))
        given = msgspec.json.decode(body, type=dict[str, str | int | bool | None])
    except (ValueError, msgspec.DecodeError):
        raise Unreadable("the body must be a JSON object of texts, or a form") from None
    return {name: "" if value is None else str(value) for name, value in given.items()}


def check_needs(question: Question, fields: Fields) -> None:
    """Unreadable when a field is missing: then the broker's configuration is wrong, not a device."""
    if missing := [name for name in question.needs if name not in fields]:
        raise Unreadable(f"the body has no {' and no '.join(missing)}; it needs {', '.join(question.needs)}")


# EMQX


def _emqx_connect(desk: Desk, fields: Fields) -> Reason | None:
    return desk.connect(fields["username"], fields["password"], fields.get("cert_common_name", ""))


def _emqx_act(desk: Desk, fields: Fields) -> Reason | None:
    try:
        action = Action(fields["action"])
    except ValueError:
        raise Unreadable("action must be publish or subscribe") from None
    return desk.act(fields["username"], action, fields["topic"])


def _emqx_answer(reason: Reason | None) -> Answer:
    # with any status but 200 EMQX asks the next in its chain, and in the end its default
    return Answer(200, "application/json", b'{"result": "deny"}' if reason else b'{"result": "allow"}')


# mosquitto-go-auth, amqtt

_ACCESS = {"1": Action.SUBSCRIBE, "2": Action.PUBLISH, "4": Action.SUBSCRIBE}  #: read, write, subscribe


def _go_auth_connect(desk: Desk, fields: Fields) -> Reason | None:
    return desk.connect(fields["username"], fields["password"])


def _go_auth_act(desk: Desk, fields: Fields) -> Reason | None:
    action = _ACCESS.get(fields["acc"])
    if action is None:
        raise Unreadable("acc must be 1 (read), 2 (write) or 4 (subscribe)")
    return desk.act(fields["username"], action, fields["topic"])


def _go_auth_answer(reason: Reason | None) -> Answer:
    body = {"ok": reason is None, "error": reason or ""}
    return Answer(403 if reason else 200, "application/json", msgspec.json.encode(body))


# RabbitMQ

_PERMISSIONS = {"write": Action.PUBLISH, "read": Action.SUBSCRIBE}
_TO_MQTT = str.maketrans(".*", "/+")  #: RabbitMQ's MQTT plugin turns topics into routing keys the other way round
_MQTT_QUEUES = ("mqtt-subscription-", "mqtt-will-")


def _rabbitmq_user(desk: Desk, fields: Fields) -> Reason | None:
    return desk.connect(fields["username"], fields.get("password", ""))


def _rabbitmq_vhost(desk: Desk, fields: Fields) -> Reason | None:
    user = fields["username"]
    return None if desk.knows(user) else desk.refuse(user, What.CONNECT, "", Reason.UNKNOWN_USER)


def _rabbitmq_resource(desk: Desk, fields: Fields) -> Reason | None:
    """MQTT clients have queues of their own and share one exchange, whose topics are asked for one by one."""
    user, name, permission = fields["username"], fields["name"], fields["permission"]
    queue = fields["resource"] == "queue" and name.startswith(_MQTT_QUEUES)
    exchange = fields["resource"] == "exchange" and name == "amq.topic" and permission != "configure"
    if desk.knows(user) and (queue or exchange):
        return None
    reason = Reason.NOT_FOR_MQTT if desk.knows(user) else Reason.UNKNOWN_USER
    return desk.refuse(user, What.SUBSCRIBE if permission == "read" else What.PUBLISH, name, reason)


def _rabbitmq_topic(desk: Desk, fields: Fields) -> Reason | None:
    action = _PERMISSIONS.get(fields["permission"])
    if action is None:
        raise Unreadable("permission must be write or read")
    return desk.act(fields["username"], action, fields["routing_key"].translate(_TO_MQTT))


def _rabbitmq_answer(reason: Reason | None) -> Answer:
    return Answer(200, "text/plain", b"deny" if reason else b"allow")


#: By the path behind /api/v1/broker/.
QUESTIONS = {
    "authenticate": Question(("username", "password"), _emqx_connect, _emqx_answer),
    "authorize": Question(("username", "topic", "action"), _emqx_act, _emqx_answer),
    "go-auth/authenticate": Question(("username", "password"), _go_auth_connect, _go_auth_answer),
    "go-auth/authorize": Question(("username", "topic", "acc"), _go_auth_act, _go_auth_answer),
    "rabbitmq/user": Question(("username",), _rabbitmq_user, _rabbitmq_answer),
    "rabbitmq/vhost": Question(("username",), _rabbitmq_vhost, _rabbitmq_answer),
    "rabbitmq/resource": Question(("username", "resource", "name", "permission"), _rabbitmq_resource, _rabbitmq_answer),
    "rabbitmq/topic": Question(("username", "permission", "routing_key"), _rabbitmq_topic, _rabbitmq_answer),
}
