"""Every decision has a line for people."""

from __future__ import annotations

import msgspec
import pytest

from alerts.alert import AlertState
from alerts.incident import HushReason, IncidentState
from alerts.outbox import DeliveryOutcome
from alerts.timeline import happening
from tests.support import decisions as some


@pytest.mark.parametrize("outcome", DeliveryOutcome)
def test_every_outcome_of_a_delivery_has_words_and_not_its_bare_name(outcome: DeliveryOutcome) -> None:
    text = happening(some.receipt(outcome=outcome)).text
    assert text.startswith("attempt 1 ") and "_" not in text


def test_every_state_and_reason_has_a_sentence() -> None:
    lines = [happening(some.hush(reason=reason)).text for reason in HushReason]
    lines += [happening(some.incident(state=state)).text for state in IncidentState]
    assert len(set(lines)) == len(lines)


def test_a_failed_attempt_says_whether_another_follows() -> None:
    retry = some.receipt(outcome=DeliveryOutcome.RETRY, final=False, detail="HTTP 503")
    assert happening(retry).text == "attempt 1 failed, sent again later: HTTP 503"
    last = msgspec.structs.replace(retry, final=True, attempt=9)
    assert happening(last).text == "attempt 9 failed, given up: HTTP 503"


def test_a_closing_line_says_verdict_cause_and_summary_and_no_other_line_repeats_them() -> None:
    closed = some.incident(
        state=IncidentState.CLOSED, author="li", verdict="false_alarm", cause="steam", summary="kettle", reason="done"
    )
    assert happening(closed).text == "Closed by li: done; verdict false_alarm; cause steam; kettle"
    reopened = msgspec.structs.replace(closed, state=IncidentState.OPEN, author="", reason="fire at d1")
    assert happening(reopened).text == "Open: fire at d1"


def test_a_step_of_a_firing_alert_is_told_apart_from_its_first_firing() -> None:
    again = some.transition(before=AlertState.FIRING)
    assert "fires again or more gravely" in happening(again).text


def test_times_in_a_body_are_iso_and_an_unset_one_is_null() -> None:
    body = happening(some.tell()).body
    assert (body["at"], body["began_at"]) == ("2024-11-21T12:00:00.000Z", None)
    assert body["class"] == "fire" and "signal_class" not in body
