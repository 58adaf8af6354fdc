"""Refines the table of a board's ADC from the signal that one of its channels carries.

The device counts codes for half an hour while it measures on, works out its chip's own curve,
keeps it, and uses it. The signal must be large and move smoothly: a mains voltage, or the current
of a motor under load. Without --channel or --slot it says which curve is in use. The device counts
on if this is ended; the same line again goes on with it.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Mapping
from typing import Any

from clamptools import apiclient
from clamptools.errors import UserError

EXAMPLE = """
clampwork refine e66118604b2f4c2a
clampwork refine e66118604b2f4c2a --channel voltage1
clampwork refine e66118604b2f4c2a --slot 0 --seconds 3600 --json
clampwork refine e66118604b2f4c2a --forget
"""
COUNTING, KEPT, REFINED = "counting", "kept", "refined"
_ASK_S = 5.0


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("device", metavar="DEVICE", help="its id, as the gateway shows it")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--channel", metavar="KEY", help="the channel that carries the signal")
    what.add_argument("--slot", type=int, metavar="N", help="the same by its slot of the ADC")
    what.add_argument("--stop", action="store_true", help="drop what was counted so far")
    what.add_argument("--forget", action="store_true", help="back to the mean of the chip type")
    parser.add_argument("--seconds", type=int, metavar="N", help="count that long (1800)")
    parser.add_argument("--json", action="store_true", help="the device's last answer as it is")
    apiclient.add_where(parser)


def run(args: argparse.Namespace, pause=time.sleep) -> int:  # noqa: ANN001 - as time.sleep
    asked: dict[str, Any] = {
        name: getattr(args, name)
        for name in ("channel", "slot", "seconds")
        if getattr(args, name) is not None
    }
    if "seconds" in asked and len(asked) == 1:
        raise UserError("--seconds goes with --channel or --slot")
    for name in ("stop", "forget"):
        if getattr(args, name):
            asked[name] = True
    answer = apiclient.command(args, args.device, "refine", asked)
    # Asked without a channel, it says how far it is; at its end each answer is a step.
    waits = "channel" in asked or "slot" in asked
    while answer["state"] == KEPT or (waits and answer["state"] == COUNTING):
        if answer["state"] == COUNTING:
            if not args.json:
                print(text_of(answer), file=sys.stderr)
            pause(min(_ASK_S, answer["left_s"] + 1))
        before = answer["state"]
        answer = apiclient.command(args, args.device, "refine")
        if before == COUNTING and answer["state"] not in (COUNTING, KEPT):
            raise UserError("the device counts no more: has it been restarted? Begin again")
    print(json.dumps(answer) if args.json else text_of(answer))
    return 0


def text_of(answer: Mapping[str, Any]) -> str:
    """The answer of a device as a person reads it."""
    if answer["state"] == COUNTING:
        return f"counting codes of {answer['channel']}: {answer['left_s']:.0f} s to go"
    if answer["state"] != REFINED:
        return f"in use: the mean curve of the {answer['chip']}"
    steps = ", ".join(map(str, answer["steps"]))
    limit = answer["linearity_lsb"]
    day = answer["date"] or "an unknown day"
    step = f"{answer['step_lsb']:.2f} LSB (standard uncertainty)"
    lines = [
        f"in use: this {answer['chip']}'s own curve ({answer['chip_id']}), of {day}",
        f"from {answer['samples']:,} samples; steps seen: {steps}, each to {step}",
        f"scatter of single widths beyond chance: {answer['rough_lsb']:.2f} LSB",
    ]
    if limit is None:
        lines.append("not all steps were seen: the uncertainty stays as it was; a larger signal")
        lines.append("would show them")
    else:
        lines.append(f"what it leaves of an RMS: at most {limit:.2f} LSB (k = 2)")
    return "\n".join(lines)
