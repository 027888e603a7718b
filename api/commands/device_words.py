"""How `emberwatch device` is called, and what its `--help` teaches."""

from __future__ import annotations

import argparse
from pathlib import Path

from api.commands.wording import Group


def add_device_commands(commands: Group) -> None:
    """`device`."""
    device = commands.group("device", "what devices show brokers to be let in")
    secret = device.add(
        "secret",
        "a new secret for a device, printed once",
        """Make a secret for a device and print it on standard output, once: only its SHA-256 is kept. The device's MQTT
user name is SITE/DEVICE, its password the secret. What it had before is no longer accepted. Brokers that ask by HTTP
(deploy/config/brokers.md) know it within seconds.""",
        _device_secret,
    )
    secret.add_argument("device", type=_user, metavar="SITE/DEVICE")
    secret.add_argument("--out", type=Path, metavar="FILE", help="write it into a new file of mode 600 instead")
    secrets = device.add(
        "secrets",
        "secrets for all devices that have no credential",
        """Make a secret for every registered device that has neither secret nor certificate, and write them into a new
CSV file of mode 600 with the columns user and secret. Devices that have a credential keep it.""",
        _device_secrets,
    )
    secrets.add_argument("--out", type=Path, required=True, metavar="FILE.csv")


def _user(text: str) -> tuple[str, str]:
    site, _, device = text.partition("/")
    if not site or not device:
        raise argparse.ArgumentTypeError(f"{text!r} is no device; write SITE/DEVICE, such as shed-12/head-2")
    return site, device


def _device_secret(arguments: argparse.Namespace) -> int:
    from api.commands.devices import device_secret

    site, device = arguments.device
    return device_secret(site, device, arguments.out)


def _device_secrets(arguments: argparse.Namespace) -> int:
    from api.commands.devices import device_secrets

    return device_secrets(arguments.out)
