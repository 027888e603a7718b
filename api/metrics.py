"""What the doors count."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram
from starlette.types import Scope

_METHODS = ("GET", "POST", "other")
_ANSWERS = ("2xx", "3xx", "4xx", "5xx")

REQUESTS = Counter("emberwatch_api_requests_total", "HTTP requests answered", ["method", "answer"])
DURATION = Histogram(
    "emberwatch_api_request_duration_seconds",
    "Time from request to the end of its answer, without event streams",
    buckets=(0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.3, 1, 3, 10),
)
ACTS = Counter("emberwatch_api_acts_total", "Human acts taken in", ["kind"])
REFUSED = Counter("emberwatch_api_refused_total", "Requests whose sender was not let in", ["reason"])
FORBIDDEN = Counter("emberwatch_api_forbidden_total", "Requests of known callers that lack the right or the centre")
PUSHES = Counter("emberwatch_api_pushes_total", "Pushes of platforms, by what became of them", ["source", "outcome"])
BROKER_ALLOWED = Counter("emberwatch_api_broker_allowed_total", "Questions of brokers answered with yes", ["what"])
BROKER_REFUSED = Counter(
    "emberwatch_api_broker_refused_total", "Questions of brokers answered with no", ["what", "reason"]
)
BROKER_DEVICES = Gauge("emberwatch_api_broker_devices", "Devices that brokers can be answered about")
BROKER_FORGOTTEN = Counter(
    "emberwatch_api_broker_refusals_forgotten_total", "Folded refusals that were too many to be kept for the list"
)
WATCHERS = Gauge("emberwatch_api_event_watchers", "Event streams open now")
EVENTS = Counter("emberwatch_api_events_total", "Events read for the event streams")
LAGGARDS = Counter("emberwatch_api_event_laggards_total", "Event streams closed because they read too slowly")

for _method in _METHODS:
    for _answer in _ANSWERS:
        REQUESTS.labels(_method, _answer)
for _kind in ("acknowledge", "comment", "close", "reset"):
    ACTS.labels(_kind)


def observe_request(scope: Scope, status: int, seconds: float) -> None:
    """Count one answered request; an event stream's life is no duration."""
    method = scope["method"] if scope["method"] in _METHODS else "other"
    REQUESTS.labels(method, f"{status // 100}xx").inc()
    if not scope["path"].endswith("/events"):
        DURATION.observe(seconds)
