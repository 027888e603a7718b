"""How `emberwatch duty-check` is called, and what its `--help` teaches."""

from __future__ import annotations

import argparse

from api.commands.wording import Group, positive


def add_panel_commands(commands: Group) -> None:
    """`duty-check`."""
    duty = commands.add(
        "duty-check",
        "ask whether somebody is at a fire panel (查岗)",
        """Send a duty check to the transmitter of a fire panel (GB/T 26875.3) through the running roles, and say
whether it went out. Somebody has to press the key there within the minutes; GET /api/v1/duty-checks shows who did.""",
        _duty_check,
    )
    duty.add_argument("device", metavar="SITE/DEVICE", help="the transmitter, or any device behind it")
    duty.add_argument("--minutes", type=_minutes, default=10, metavar="N", help="1 to 255 (default 10)")


def _duty_check(arguments: argparse.Namespace) -> int:
    from api.commands.duty import duty_check

    return duty_check(arguments.device, arguments.minutes)


def _minutes(text: str) -> int:
    if positive(text) > 255:
        raise argparse.ArgumentTypeError(f"{text} minutes are too many; a duty check allows 1 to 255")
    return int(text)
