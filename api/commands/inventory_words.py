"""How `emberwatch inventory` is called, and what its `--help` teaches."""

from __future__ import annotations

import argparse
from pathlib import Path

from api.commands.wording import Group


def add_inventory_commands(commands: Group) -> None:
    """`inventory`."""
    inventory = commands.group("inventory", "import and export areas, centres, sites and devices")
    loading = inventory.add(
        "import",
        "take over a CSV file",
        """Add and change areas, centres, sites and devices from a CSV file with the header
kind,id,parent,name,class,lat,lon,expected_interval_s,credential,attributes; kind is area, centre, site or device.
Nothing is taken over when any line is wrong. Running roles learn of it within seconds.""",
        _inventory_import,
    )
    loading.add_argument("file", type=Path, metavar="FILE.csv")
    saving = inventory.add("export", "write the inventory as CSV", "Write the inventory as CSV.", _inventory_export)
    saving.add_argument("file", type=Path, nargs="?", metavar="FILE.csv", help="default: standard output")
    acl = inventory.add(
        "acl",
        "write who may publish what, as mosquitto's acl_file",
        """Write mosquitto's acl_file: every device publishes in its own name only, gateways also in that of the devices
behind them, and what the attributes publish and subscribe of a device list. deploy/config/mosquitto-devices.conf shows
the rest. mosquitto reads the file anew at SIGHUP; send that while the receiver is connected.""",
        _inventory_acl,
    )
    acl.add_argument("--out", type=Path, metavar="FILE", help="default: standard output")
    acl.add_argument("--user", default="emberwatch", metavar="NAME", help="of our own roles (default emberwatch)")


def _inventory_import(arguments: argparse.Namespace) -> int:
    from api.commands.store import inventory_import

    return inventory_import(arguments.file)


def _inventory_export(arguments: argparse.Namespace) -> int:
    from api.commands.store import inventory_export

    return inventory_export(arguments.file)


def _inventory_acl(arguments: argparse.Namespace) -> int:
    from api.commands.acl import inventory_acl

    return inventory_acl(arguments.out, user=arguments.user)
