"""Says why a machine is in its state: levels, thresholds, and the evidence for them.

The device itself answers, over a running gateway. With --relearn it forgets what it learned, for
a board that was moved to another machine.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from typing import Any

from clamptools import apiclient

EXAMPLE = """
clampwork why e66118604b2f4c2a
clampwork why e66118604b2f4c2a --json
clampwork why e66118604b2f4c2a --relearn
"""


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("device", metavar="DEVICE", help="its id, as the gateway shows it")
    parser.add_argument("--json", action="store_true", help="the device's answer as it is")
    parser.add_argument("--relearn", action="store_true", help="forget what was learned")
    apiclient.add_where(parser)


def run(args: argparse.Namespace) -> int:
    name = "relearn" if args.relearn else "why"
    answer = apiclient.command(args, args.device, name)
    print(json.dumps(answer) if args.json else text_of(answer))
    return 0


def text_of(answer: Mapping[str, Any]) -> str:
    """The answer of a device as a person reads it."""
    lines = [f"{answer['state']}: {answer['reason']}"]
    if "mode" not in answer:
        return lines[0]
    lines.append(f"now: {answer['now']}")
    lines.append(f"told by: {answer['mode']}")
    levels = answer.get("levels", {})
    shown = ", ".join(f"{key} {_number(value)}" for key, value in levels.items())
    lines.append(f"levels of the last window: {shown or 'none'}")
    if "on" in answer:
        lines.append("something flows: " + _rule(answer["on"]))
    lines += ["working: " + _rule(rule) for rule in answer.get("working", ())]
    if "learning" in answer:
        done, wanted = answer["learning"]
        lines.append(f"learned from: {done} of {wanted} windows of 200 ms")
    for base in answer.get("baselines", ()):
        done, wanted = base["learning"]
        level = _number(base["level"]) if base["level"] is not None else "not learned"
        lines.append(f"baseline of {base['of']}: {level}, {done} of {wanted} windows of work")
        if base["failed_saves"]:
            lines.append(f"not kept over a power cut: {base['failed_saves']} writes failed")
    evidence = answer.get("evidence")
    if evidence:
        lines += [
            f"evidence: {word} is about {_number(evidence[word])}, "
            f"in {evidence[word + '_windows']} windows"
            for word in ("idle", "working")
        ]
    if answer.get("failed_saves"):
        lines.append(f"not kept over a power cut: {answer['failed_saves']} writes failed")
    times = ", ".join(f"{name} {seconds:g} s" for name, seconds in answer["min_s"].items())
    lines.append(f"a state counts once it has lasted: {times}")
    return "\n".join(lines)


def _rule(rule: Mapping[str, Any]) -> str:
    return f"{rule['of']} above {_number(rule['above'])} {rule['unit']}"


def _number(value: float | None) -> str:
    return "no samples" if value is None else f"{value:g}"
