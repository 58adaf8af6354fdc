"""Measures the gateway's MQTT client against libmosquitto in C, paho and aiomqtt, in one run.

Each publishes the same at QoS 1 to one mosquitto, in turn and round by round, so that what else
the machine does hits all alike; shown is the median of the rounds. libmosquitto's client is
compiled in a temporary folder.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from clamptools.errors import UserError
from clamptools.mqttbench_clients import CLIENTS, HOST

EXAMPLE = """
clampwork bench mqtt
clampwork bench mqtt --window 20 --rounds 9 --json
"""
HERE = Path(__file__).parent
LIBMOSQUITTO = "libmosquitto"
TOPIC = "clampwork/hall/e66138935f3a2b21/data"
START_S = 10.0
# Debian puts daemons where the PATH of an ordinary user does not look.
_SEARCH = os.pathsep.join((os.environ.get("PATH", ""), "/usr/local/sbin", "/usr/sbin", "/sbin"))
# Small writes of the broker would wait for our acknowledgements otherwise, up to 40 ms.
_CONFIG = "listener {port} 127.0.0.1\nallow_anonymous true\nset_tcp_nodelay true\nlog_type none\n"


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--messages", type=int, default=20_000, metavar="N", help="in one round")
    parser.add_argument("--bytes", type=int, default=200, metavar="N", help="100 to 10000")
    parser.add_argument("--window", type=int, default=100, metavar="N", help="1 to 1000")
    parser.add_argument("--rounds", type=int, default=5, metavar="N")
    parser.add_argument("--json", action="store_true", help="one JSON object")


def run(args: argparse.Namespace) -> int:
    if args.messages < 1 or args.rounds < 1:
        raise UserError("messages and rounds must be at least 1")
    if not 1 <= args.window <= 1000 or not 100 <= args.bytes <= 10_000:
        raise UserError("window must be 1 to 1000, bytes 100 to 10000")
    with tempfile.TemporaryDirectory(prefix="clampwork-bench-") as folder:
        runs, notes = measure(Path(folder), args.messages, args.bytes, args.window, args.rounds)
    print(json.dumps({"runs": runs, "notes": notes}) if args.json else text_of(runs, notes))
    return 0


def text_of(runs: Sequence[dict[str, Any]], notes: Sequence[str]) -> str:
    """The result as a person reads it."""
    lines = ["client          messages/s  of libmosquitto  CPU us/message"]
    for each in runs:
        ratio = each["ratio_to_libmosquitto"]
        lines.append(
            f"{each['client']:<14} {each['messages_per_s']:>11}"
            f"  {'-' if ratio is None else f'{ratio:.3f}':>15}  {each['cpu_us']:>14.1f}"
        )
    return "\n".join([*lines, *notes])


def measure(
    folder: Path, messages: int, size: int, window: int, rounds: int
) -> tuple[list[dict[str, Any]], list[str]]:
    """Builds in `folder` and measures. Raises UserError without mosquitto.

    Returns:
        One entry a client, and what has to be said beside.
    """
    names = list(CLIENTS)
    commands = {
        name: [sys.executable, "-m", "clamptools.mqttbench_clients", name] for name in names
    }
    notes = []
    try:
        commands = {LIBMOSQUITTO: [str(_build(folder))]} | commands
    except UserError as error:
        notes.append(f"libmosquitto is not compared: {error}")
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in commands}
    with _broker(folder) as port:
        load = [str(port), str(window), str(messages), str(size), TOPIC]
        order = list(commands)
        for turn in range(rounds):
            # Each begins as often as the others.
            for name in order[turn % len(order) :] + order[: turn % len(order)]:
                found[name].append(_round(name, [*commands[name], *load]))
    return [_entry(name, messages, found) for name in commands], notes


def _entry(
    name: str, messages: int, found: dict[str, list[tuple[float, float]]]
) -> dict[str, Any]:
    own, yardstick = found[name], found.get(LIBMOSQUITTO, [])
    ratios = [other / one for (one, _), (other, _) in zip(own, yardstick, strict=False)]
    return {
        "client": name,
        "messages_per_s": round(messages / statistics.median(seconds for seconds, _ in own)),
        # Of the rounds, since two clients are comparable within one round only.
        "ratio_to_libmosquitto": round(statistics.median(ratios), 3) if ratios else None,
        "cpu_us": round(1e6 * statistics.median(cpu_s for _, cpu_s in own) / messages, 2),
    }


def _round(name: str, command: list[str]) -> tuple[float, float]:
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )
    if done.returncode:
        lines = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        raise UserError(f"the client {name} failed: {lines[-1]}")
    got = json.loads(done.stdout)
    return got["seconds"], got["cpu_s"]


def _build(folder: Path) -> Path:
    """Compiles libmosquitto's client. Raises UserError if that cannot be."""
    compiler = shutil.which(os.environ.get("CC", "cc"))
    if compiler is None:
        raise UserError("no C compiler (cc) is here: apt-get install gcc libc6-dev")
    source = HERE / "mqttbench_libmosquitto.c"
    target = folder / LIBMOSQUITTO
    command = [compiler, "-O2", "-o", str(target), str(source), "-l:libmosquitto.so.1"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    if done.returncode:
        lines = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        raise UserError(f"{source.name}: {lines[0]}; apt-get install libmosquitto1")
    return target


@contextmanager
def _broker(folder: Path) -> Iterator[int]:
    """A mosquitto of its own, and its port. Raises UserError without one."""
    program = shutil.which("mosquitto", path=_SEARCH)
    if program is None:
        raise UserError("no mosquitto is here: apt-get install mosquitto")
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port = probe.getsockname()[1]
    config = folder / "mosquitto.conf"
    config.write_text(_CONFIG.format(port=port))
    process = subprocess.Popen([program, "-c", str(config)], stderr=subprocess.DEVNULL)
    try:
        until_s = time.monotonic() + START_S
        while True:
            with socket.socket() as probe:
                if probe.connect_ex((HOST, port)) == 0:
                    break
            if process.poll() is not None or time.monotonic() > until_s:
                raise UserError(f"mosquitto does not listen on port {port}")
            time.sleep(0.05)
        yield port
    finally:
        process.terminate()
        process.wait(START_S)
