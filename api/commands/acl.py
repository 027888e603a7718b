"""`emberwatch inventory acl`: the inventory as mosquitto's acl_file."""

from __future__ import annotations

import sys
from pathlib import Path

from api.commands.store import connection, output
from ingest.aclfile import acl_lines
from ingest.errors import OperatorError
from ingest.inventory_file import export_inventory
from ingest.permissions import unfit_name, wrong_user
from ingest.settings import load_settings
from ingest.sources_file import load_sources


def inventory_acl(out: Path | None, *, user: str) -> int:
    """Write the file; devices that cannot connect under their names are told on stderr."""
    if wrong := "/ is for names of devices" if "/" in user else wrong_user(user):
        raise OperatorError(f"--user {user!r}: {wrong}; give a name such as emberwatch")
    settings = load_settings()
    sources = load_sources(settings.file("sources"))
    with connection(settings) as opened:
        devices = export_inventory(opened).devices
    filters = [source.filter for source in sources.sources if source.by_broker]
    with output(out) as file:
        file.writelines(f"{line}\n" for line in acl_lines(devices, filters, user=user))
    for device in devices:
        if wrong := unfit_name(device):
            print(f"device {device.id!r} of site {device.site!r} cannot connect by its name: {wrong}", file=sys.stderr)
    return 0
