"""Starts simulated machines, a gateway and a broker, shows them live, and checks what comes out.

Each machine is a device with the real firmware, under MicroPython where there is one, at the end
of a pty; broker and gateway are processes of their own on free ports. A subscriber and a Modbus
client inside the demo compare what they get with what the devices wrote down beside the link. The
exit code is 0 only if nothing is lost, doubled or mismatched.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import shutil
import sys
import tempfile
from pathlib import Path
from typing import TextIO

from clamptools.demo.chaosrun import run_chaos
from clamptools.demo.plans import MACHINES_MAX, plans, truths
from clamptools.demo.processes import ChildError
from clamptools.demo.session import Session
from clamptools.demo.stack import Stack
from clamptools.demo.verdict import Verdict, judge
from clamptools.errors import UserError
from clamptools.interpreter import find_interpreter

EXAMPLE = """
clampwork demo
clampwork demo --for 30 --json
clampwork demo --chaos --seed 7 --for 120 --json
"""
DEFAULT_DEVICES = 3
SHOWN_PROBLEMS = 20
FAILED = 1
INTERRUPTED = 130


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--for",
        dest="seconds",
        type=_seconds,
        metavar="SECONDS",
        help="how long the machines run (default: until Ctrl-C)",
    )
    parser.add_argument(
        "--devices",
        type=int,
        default=DEFAULT_DEVICES,
        metavar="N",
        help=f"how many machines, 1 to {MACHINES_MAX} (default %(default)s)",
    )
    parser.add_argument(
        "--json",
        action="store_true",
        help="the last line of standard output is one JSON object, all else goes to stderr",
    )
    parser.add_argument(
        "--chaos",
        action="store_true",
        help="meanwhile harm the broker, the gateway, the links and the devices' power",
    )
    parser.add_argument(
        "--seed",
        type=int,
        metavar="N",
        help="which chaos: the same number, the same faults (default: a new one, which is shown)",
    )
    parser.add_argument(
        "--keep", action="store_true", help="keep the folder with logs, store and side files"
    )


def run(args: argparse.Namespace) -> int:
    """Raises UserError for arguments that cannot be, or a process that does not come up."""
    if not 1 <= args.devices <= MACHINES_MAX:
        raise UserError(f"--devices is {args.devices}: 1 to {MACHINES_MAX}")
    if args.seed is not None and not args.chaos:
        raise UserError("--seed without --chaos: there is nothing to draw")
    out: TextIO = sys.stderr if args.json else sys.stdout
    folder = Path(tempfile.mkdtemp(prefix="clampwork-demo-"))
    try:
        verdict = asyncio.run(_run(args, folder, out))
    except ChildError as error:
        print(f"clampwork demo: {error}", file=sys.stderr)
        return FAILED
    except asyncio.CancelledError:
        return INTERRUPTED
    finally:
        if args.keep:
            print(f"kept {folder}", file=sys.stderr)
        else:
            shutil.rmtree(folder)
    _report(verdict, out)
    if args.json:
        print(json.dumps(verdict.result), flush=True)
    return 0 if verdict.good else FAILED


async def _run(args: argparse.Namespace, folder: Path, out: TextIO) -> Verdict:
    def say(line: str) -> None:
        print(line, file=out, flush=True)

    interpreter = find_interpreter()
    say(f"{args.devices} simulated devices under {interpreter.text}")
    if args.chaos:
        return await run_chaos(
            args.devices, args.seconds, args.seed, folder, interpreter, out, say
        )
    with Stack(folder, plans(args.devices), interpreter) as stack:
        evidence = await Session(stack, args.seconds, out, say).run()
        committed = stack.committed()
    return judge(evidence, stack.devices, truths(stack.devices), committed, interpreter.text)


def _report(verdict: Verdict, out: TextIO) -> None:
    for name, value in verdict.result.items():
        print(f"{name:22} {value}", file=out)
    for problem in verdict.problems[:SHOWN_PROBLEMS]:
        print(problem, file=sys.stderr)
    more = len(verdict.problems) - SHOWN_PROBLEMS
    if more > 0:
        print(f"and {more} more problems", file=sys.stderr)


def _seconds(text: str) -> float:
    value = float(text)
    if not 1 <= value <= 7 * 86400:
        raise argparse.ArgumentTypeError(f"{text} is not 1 second to 7 days")
    return value
