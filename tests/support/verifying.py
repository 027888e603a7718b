"""A small feed, all that became of it, and `verify` over both."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ingest.readings import SECOND, iso
from simulators.__main__ import main
from simulators.tapes.tapefile import TapeWriter

START = 1_790_000_000 * SECOND
#: A truth file that names no fire yet.
TRUTH: dict[str, Any] = {"recording": "r", "source": "s", "site": "", "fire": True, "clock": "c", "interval_s": 0}
#: A fire of such a truth.
FIRE = {"what": "battery", "site": "shed-2", "ignition": iso(START + 3 * SECOND)}

Run = tuple[int, list[str], dict[str, Any]]


class Feed:
    """The files of one feed, as the program and a collector would write them when all goes well."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self._folder, self._capsys = folder, capsys
        self.messages: list[tuple[int, str, bytes]] = []
        self.books: dict[str, dict[str, int]] = {
            "messages": {"received": 0, "stored": 0, "duplicate": 0, "quarantined": 0, "no_reading": 0, "waiting": 0},
            "alerts": {"opened": 0, "notified": 0, "suppressed": 0, "pending": 0},
            "deliveries": {"created": 0, "accepted": 0, "failed": 0, "waiting": 0},
        }
        self.alerts: list[dict[str, Any]] = []
        self.pages: list[dict[str, Any]] = []
        self.truth: dict[str, Any] = {}

    def say(self, second: float, topic: str, /, **fields: Any) -> int:
        """A device says something, and it is stored; when (µs)."""
        at = START + int(second * SECOND)
        body = {"ts": iso(at), **fields}
        self.put(at + 20_000, f"ember/v1/{topic}", json.dumps(body).encode(), end="stored")
        return at

    def put(self, at: int, topic: str, payload: bytes, *, end: str) -> None:
        self.messages.append((at, topic, payload))
        self.books["messages"]["received"] += 1
        self.books["messages"][end] += 1

    def told(self, at: int, site: str, device: str, **more: Any) -> None:
        """An alert and its page, half a second and a second later."""
        name = f"alert-{len(self.alerts)}"
        self.alert(at + SECOND // 2, site, device, alert_id=name)
        self.page(at + SECOND, site, alert=name, **more)

    def alert(self, at: int, site: str, device: str | None, **more: Any) -> None:
        line: dict[str, Any] = {
            "at": iso(at),
            "rule": "smoke-alarm",
            "class": "fire",
            "severity": "critical",
            "site": site,
        }
        line |= {"device": device, "before": None, "after": "firing", "value": True, "reason": "", "rule_version": "1"}
        self.alerts.append(line | {"alert_id": f"alert-{len(self.alerts)}"} | more)

    def page(self, at: int, site: str, *, alert: str = "", key: str = "", **more: Any) -> None:
        key = key or f"page-{len(self.pages)}"
        incident = {"id": f"incident-{site}", "site": site}
        body = {"id": key, "reason": "opened", "class": "fire", "incident": incident, "team": "north", "step": 0}
        body |= {"alerts": [{"id": alert, "device": "d"}]}
        line = {"at": at, "path": "/hook", "key": key, "status": 200, "signed": True, "body": body | more}
        self.pages.append(line)

    def file(self, name: str, text: str | bytes) -> str:
        path = self._folder / name
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        return str(path)

    def tape(self) -> str:
        path = self._folder / "sent.tape"
        with TapeWriter(path) as writer:
            for at, topic, payload in self.messages:
                writer.add(at=at, topic=topic, payload=payload)
        return str(path)

    def options(self) -> list[str]:
        balanced = json.dumps(self.books | {"balanced": True})
        words = ["--ledger", self.file("ledger.json", balanced)]
        words += ["--alerts", self.file("alerts.jsonl", "".join(json.dumps(line) + "\n" for line in self.alerts))]
        words += ["--pages", self.file("pages.jsonl", "".join(json.dumps(line) + "\n" for line in self.pages))]
        return words + (["--truth", self.file("f.truth.json", json.dumps(self.truth))] if self.truth else [])

    def verify(self, *words: str) -> Run:
        """Exit code, the kinds and checks of all findings, and the report."""
        out = self._folder / "findings.jsonl"
        code = main(["verify", "--sent", self.tape(), *(words or self.options()), "--json", "--out", str(out)])
        report = json.loads(self._capsys.readouterr().out)
        findings = [json.loads(line) for line in out.read_text().splitlines()]
        assert len(findings) == report["found"]
        return code, [f"{each['kind']} {each['check']}" for each in findings], {"findings": findings, **report}
