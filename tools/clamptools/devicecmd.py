"""Removes a device that is gone for good from a running gateway.

The gateway delivers what it has of the device, empties its retained topics, and lists it no more.
Records, ledger and Modbus unit stay; a device that is plugged in again is there again.
docs/removal.md says what becomes of what.
"""

from __future__ import annotations

import argparse
from urllib.parse import quote

from clamptools import apiclient
from clamptools.cli import add_action

EXAMPLE = """
clampwork device remove e66118604b2f4c2a
"""


def configure(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    remove = add_action(
        actions, "remove", "remove a device that is unplugged for good", EXAMPLE.strip()
    )
    remove.add_argument("device", metavar="DEVICE", help="its id, as the gateway shows it")
    apiclient.add_where(remove)


def run(args: argparse.Namespace) -> int:
    """Raises UserError if there is no such device, or it is still connected."""
    answer = apiclient.delete(args, f"/api/v1/devices/{quote(args.device, safe='')}")
    print(
        f"{answer['device']} is removed. What it sent and is not delivered yet goes "
        "out first; then its retained topics are emptied, as soon as the broker takes it."
    )
    return 0
