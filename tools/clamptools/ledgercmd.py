"""Shows how complete the records of each device and day are: expected, received, lost and why.

A running gateway answers, from its ledger. Days are UTC; what has no certain time yet is listed
as "unsynced". docs/ledger.md says what each number means.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlencode

from rich.console import Console
from rich.table import Table
from rich.text import Text

from clamptools import apiclient
from clamptools.livetable import printable

EXAMPLE = """
clampwork ledger
clampwork ledger --device e66118604b2f4c2a --from 2026-11-01
clampwork ledger --json
"""
NUMBERS = (
    "expected",
    "received",
    "condensed",
    "late",
    "lost",
    "pending",
    "absent_s",
    "redelivered",
)
_HEADS = {"absent_s": "absent s"}
_ALARMING = frozenset(("lost", "pending"))
RANGES_SHOWN = 8


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--device", metavar="DEVICE", help="its id (default: all)")
    parser.add_argument("--from", dest="first", metavar="DAY", help='first day, as "2026-11-22"')
    parser.add_argument("--to", dest="last", metavar="DAY", help="last day")
    parser.add_argument("--ranges", action="store_true", help="name what did not come, and why")
    parser.add_argument("--json", action="store_true", help="the gateway's answer as it is")
    apiclient.add_where(parser)


def run(args: argparse.Namespace) -> int:
    """Raises UserError if no gateway answers, or it refuses the question."""
    asked = {"device": args.device, "from": args.first, "to": args.last}
    query = urlencode({name: value for name, value in asked.items() if value is not None})
    answer = apiclient.get(args, "/api/v1/ledger" + (f"?{query}" if query else ""))
    if args.json:
        print(json.dumps(answer))
        return 0
    console = Console()
    devices = answer["devices"]
    if not devices:
        console.out("no device has sent anything in these days", highlight=False)
        return 0
    console.print(table_of(devices))
    if args.ranges:
        for line in lines_of(devices):
            console.out(line, highlight=False)
    return 0


def table_of(devices: Sequence[Mapping[str, Any]]) -> Table:
    """One row a device and day; text of devices is shown as text."""
    table = Table(title="numbers of records, events and gaps", title_justify="left")
    table.add_column("device", no_wrap=True)
    table.add_column("day", no_wrap=True)
    for name in NUMBERS:
        table.add_column(_HEADS.get(name, name), justify="right", no_wrap=True)
    table.add_column("complete %", justify="right", no_wrap=True)
    for device in devices:
        for day in device["days"]:
            cells = [
                Text(str(day[name]), style="red" if name in _ALARMING and day[name] else "")
                for name in NUMBERS
            ]
            table.add_row(
                Text(printable(device["device"])), day["day"], *cells, Text(complete_of(day))
            )
    return table


def complete_of(day: Mapping[str, Any]) -> str:
    """The share of the expected numbers that came, as themselves or condensed, in %.

    Rounded down, so that 100 means all.
    """
    if not day["expected"]:
        return ""
    hundredths = 10_000 * (day["received"] + day["condensed"]) // day["expected"]
    return f"{hundredths / 100:.2f}"


def lines_of(devices: Sequence[Mapping[str, Any]]) -> list[str]:
    """What did not come, one line a range, the last few of each day."""
    lines = []
    for device in devices:
        for day in device["days"]:
            ranges = [*day["lost_ranges"], *day["pending_ranges"]]
            where = f"{printable(device['device'])} {day['day']}"
            lines += [f"{where}: {_range(each)}" for each in ranges[-RANGES_SHOWN:]]
            more = len(ranges) - RANGES_SHOWN + day["more"]
            if more > 0:
                lines.append(f"{where}: and {more} ranges more, see --json")
    return lines


def _range(missing: Mapping[str, Any]) -> str:
    why = f"lost, {missing['reason']}" if missing["reason"] else "pending"
    first, last, n = missing["first"], missing["last"], missing["n"]
    some = "" if n == last - first + 1 else f", {n} of them"
    return f"boot {missing['boot']}, {first} to {last}{some}: {why}"
