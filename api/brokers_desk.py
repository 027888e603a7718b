"""What a broker is answered: may this client connect, publish, subscribe? All from memory, no clock of its own."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Iterable
from enum import StrEnum

from api.brokers_index import BY_CERTIFICATE, NO_SECRET, BrokerIndex
from api.metrics import BROKER_ALLOWED, BROKER_REFUSED
from ingest.permissions import Action, allowed, our_permission, unfit_name

#: The user name of our own roles; no device has it, because theirs have a slash.
OUR_USER = "emberwatch"


class What(StrEnum):
    """What a client wanted."""

    CONNECT = "connect"
    PUBLISH = "publish"
    SUBSCRIBE = "subscribe"


class Reason(StrEnum):
    """Why it was refused; also the label of the count, the word in the log and in the list."""

    NO_USER = "no_user"  #: it gave no user name
    UNKNOWN_USER = "unknown_user"  #: the inventory has no such SITE/DEVICE
    UNFIT_NAME = "unfit_name"  #: its name has a wildcard of MQTT
    NO_CREDENTIAL = "no_credential"  #: the inventory has none for it
    WRONG_SECRET = "wrong_secret"
    CERTIFICATE_NEEDED = "certificate_needed"  #: it has to come with a client certificate
    NOT_ITS_TOPIC = "not_its_topic"  #: of another device, or wider than its own
    NOT_FOR_MQTT = "not_for_mqtt"  #: a queue or exchange that no MQTT client needs


for _what in What:
    BROKER_ALLOWED.labels(_what.value)
    for _reason in Reason:
        BROKER_REFUSED.labels(_what.value, _reason.value)

_WHAT = {Action.PUBLISH: What.PUBLISH, Action.SUBSCRIBE: What.SUBSCRIBE}

#: Told of each refusal: user, what, topic, why.
Note = Callable[[str, What, str, Reason], None]


class Desk:
    """Answers brokers. Until `index` is there, nothing can be answered (see `ready`)."""

    def __init__(self, *, is_ours: Callable[[str], bool], sources: Iterable[str], note: Note) -> None:
        self._is_ours = is_ours  #: whether a password is a token that lets our own roles connect
        self._ours = our_permission(sources)
        self._note = note
        self.index: BrokerIndex | None = None

    @property
    def ready(self) -> bool:
        return self.index is not None

    def connect(self, user: str, password: str, common_name: str = "") -> Reason | None:
        """None when this client may connect. `common_name`: of the client certificate that the broker has checked."""
        return self._told(user, What.CONNECT, "", self._why_not_connect(user, password, common_name))

    def act(self, user: str, action: Action, topic: str) -> Reason | None:
        """None when this user may publish to the topic, or subscribe to the filter."""
        return self._told(user, _WHAT[action], topic, self._why_not_act(user, action, topic))

    def refuse(self, user: str, what: What, topic: str, reason: Reason) -> Reason:
        """A refusal that the words of one broker alone decide."""
        self._told(user, what, topic, reason)
        return reason

    def knows(self, user: str) -> bool:
        """Whether there is such a user at all."""
        return user == OUR_USER or self._index.credential(user) is not None

    @property
    def _index(self) -> BrokerIndex:
        assert self.index is not None
        return self.index

    def _told(self, user: str, what: What, topic: str, reason: Reason | None) -> Reason | None:
        if reason is None:
            BROKER_ALLOWED.labels(what.value).inc()
        else:
            BROKER_REFUSED.labels(what.value, reason.value).inc()
            self._note(user, what, topic, reason)
        return reason

    def _why_not_connect(self, user: str, password: str, common_name: str) -> Reason | None:
        if user == OUR_USER:
            return None if self._is_ours(password) else Reason.WRONG_SECRET
        held = self._index.credential(user)
        if held is None:
            return Reason.UNKNOWN_USER if user else Reason.NO_USER
        device = self._index.device(user)
        if device is not None and unfit_name(device):
            return Reason.UNFIT_NAME
        if held == NO_SECRET:
            return Reason.NO_CREDENTIAL
        if held == BY_CERTIFICATE:
            return None if common_name == user else Reason.CERTIFICATE_NEEDED
        given = hashlib.sha256(password.encode()).digest()
        return None if hmac.compare_digest(given, held) else Reason.WRONG_SECRET

    def _why_not_act(self, user: str, action: Action, topic: str) -> Reason | None:
        if user == OUR_USER:
            return None if allowed(self._ours, action, topic) else Reason.NOT_ITS_TOPIC
        device = self._index.device(user)
        if device is None:
            return Reason.UNKNOWN_USER if user else Reason.NO_USER
        if unfit_name(device):
            return Reason.UNFIT_NAME
        return None if allowed(self._index.permission(device, topic), action, topic) else Reason.NOT_ITS_TOPIC
