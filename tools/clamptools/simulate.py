"""Leaves a device without its gateway for hours, in compressed time, and accounts for every item.

The device's spool, condensation, flash ring and link are the firmware's own, the gateway's session
and store are real; only the clock is not. Exit code 1 if anything was lost without a word, came
both fine and condensed, or is not what the device made.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path

from clamptools.boardlayout import layout_of
from clamptools.boards import board_names, read_board
from clamptools.errors import UserError
from clamptools.interpreter import Interpreter, find_interpreter
from clamptools.outage import Report, run_outage

EXAMPLE = """
clampwork simulate --outage 24h
clampwork simulate --outage 24h --cut-after 7h --json
clampwork simulate --outage 3d --flash-kb 512
"""
RAM_BYTES = 32768
_UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86400}
SECTOR = 4096


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments."""
    parser.add_argument(
        "--outage", type=_seconds, required=True, metavar="TIME", help="how long, e.g. 24h"
    )
    parser.add_argument(
        "--cut-after",
        type=_seconds,
        default=0,
        metavar="TIME",
        help="the device loses its power so long after the outage began",
    )
    parser.add_argument(
        "--flash-kb",
        type=int,
        metavar="KB",
        help=f"size of the ring; else each of {_boards()}",
    )
    parser.add_argument(
        "--micropython", action="store_true", help="run the device under MicroPython (slower)"
    )
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(args: argparse.Namespace) -> int:
    """Runs it for each size of the ring; 1 if a promise was broken."""
    if args.cut_after >= args.outage:
        raise UserError("--cut-after must be shorter than --outage")
    if args.flash_kb is not None and args.flash_kb * 1024 < 5 * SECTOR:
        raise UserError(f"--flash-kb {args.flash_kb}: a ring has at least 20 KB")
    rings = {f"{args.flash_kb} KB": args.flash_kb} if args.flash_kb else _rings()
    interpreter = find_interpreter() if args.micropython else _python()
    reports = {}
    for name, size_kb in rings.items():
        with tempfile.TemporaryDirectory() as folder:
            reports[name] = run_outage(
                interpreter,
                Path(folder),
                args.outage,
                size_kb * 1024 // SECTOR * SECTOR,
                RAM_BYTES,
                args.cut_after,
            )
        if not args.json:
            print("\n".join(lines_of(name, reports[name])), flush=True)
    if args.json:
        found = {name: {**asdict(one), "good": one.good} for name, one in reports.items()}
        print(json.dumps(found, indent=1))
    return 0 if all(report.good for report in reports.values()) else 1


def lines_of(name: str, report: Report) -> list[str]:
    """The report as text."""
    state = report.state or {}
    erases = state["erases"] * 86400 / report.outage_s
    sectors = report.flash_bytes // SECTOR
    text = f"""\
{name}: a ring of {report.flash_bytes // 1024} KB, {report.outage_s / 3600:g} h without a gateway,\
 device in {state["runtime"]}
  made       {report.records:,} records, {report.items:,} items in all
  fine       {report.fine:,}
  condensed  {report.condensed:,}; flash held {report.flash_h:g} h when the gateway came back
  announced  {report.announced:,} as lost: the ring was full, or the power was cut
  wrong      {report.lost} lost silently, {report.overlaps} fine and condensed,\
 {report.changed} not as made
  energy     {report.energy_vah} VAh received, {report.energy_made_vah} VAh made;\
 {report.energy_wrong} counters and {report.rms_wrong} mean squares wrong
  flash      {report.pages_per_h:g} pages an hour, {erases:.0f} erases a day on {sectors}\
 sectors: {_years(erases, sectors):,.0f} years to 100,000 each
  delivered  {report.drained_s:g} s after the gateway came back; new records meanwhile in\
 {report.live_p95_s:.2f} s (p95); {report.redelivered} came twice, none is stored twice"""
    return text.splitlines()


def _years(erases_per_day: float, sectors: int) -> float:
    return 100_000 * sectors / erases_per_day / 365.25 if erases_per_day else float("inf")


def _python() -> Interpreter:
    version = ".".join(map(str, sys.version_info[:3]))
    return Interpreter(sys.executable, f"CPython {version}", micropython=False)


def _rings() -> dict[str, int]:
    """KB of each board's ring that has one."""
    found = {name: layout_of(read_board(name)) for name in board_names()}
    return {name: ring.ring_bytes // 1024 for name, ring in found.items() if ring is not None}


def _boards() -> str:
    return ", ".join(f"{size_kb} KB ({name})" for name, size_kb in _rings().items())


def _seconds(text: str) -> int:
    match = re.fullmatch(r"(\d+)([smhd])", text)
    if match is None or not int(match[1]):
        raise argparse.ArgumentTypeError(f"{text!r}: a number and s, m, h or d, e.g. 24h")
    return int(match[1]) * _UNITS_S[match[2]]
