"""Measures the Modbus TCP server against libmodbus in C and pymodbus, in one run.

The same load, a closed loop of C with one request of 100 registers under way a connection, is put
on each server in turn, round by round, so that what else the machine does hits all alike; shown is
the median of the rounds. Load and libmodbus's server are compiled in a temporary folder.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from clampgateway.registers import schema
from clamptools.errors import UserError

EXAMPLE = """
clampwork bench modbus
clampwork bench modbus --json
clampwork bench modbus --connections 10 --rounds 9
"""
HERE = Path(__file__).parent
LIBMODBUS = "libmodbus"
# In modbusbench_servers.py, which is not imported here: it brings the whole gateway.
PYTHON_SERVERS = ("clampwork", "pymodbus", "asyncio")
UNIT = 1
CONNECTIONS_MAX = 200
CONNECTIONS = (1, 10, 50)
FIRST, COUNT = 0, 100
WARMUP_S = 0.2
START_S = 20.0


class Round(NamedTuple):
    """One server under one load: requests/s, latency in us, its processor time a request."""

    requests_per_s: float
    p50_us: int
    p99_us: int
    cpu_us: float
    bad: int


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--seconds", type=float, default=1.0, metavar="S", help="of one round")
    parser.add_argument("--rounds", type=int, default=5, metavar="N")
    parser.add_argument(
        "--connections", type=int, nargs="+", default=CONNECTIONS, metavar="N", help="1 to 200"
    )
    parser.add_argument("--json", action="store_true", help="one JSON object")


def run(args: argparse.Namespace) -> int:
    """Returns 1 if a server gave a wrong answer."""
    if args.seconds <= 0 or args.rounds < 1:
        raise UserError("seconds must be above 0 and rounds at least 1")
    if not all(1 <= each <= CONNECTIONS_MAX for each in args.connections):
        raise UserError(f"connections must be 1 to {CONNECTIONS_MAX}")
    with tempfile.TemporaryDirectory(prefix="clampwork-bench-") as folder:
        runs, notes = measure(Path(folder), args.connections, args.seconds, args.rounds)
    print(json.dumps({"runs": runs, "notes": notes}) if args.json else text_of(runs, notes))
    return 1 if any(each["bad"] for each in runs) else 0


def text_of(runs: Sequence[dict[str, Any]], notes: Sequence[str]) -> str:
    """The result as a person reads it."""
    lines = ["server      connections  requests/s  of libmodbus   p50 us   p99 us  CPU us/request"]
    for each in runs:
        ratio = each["ratio_to_libmodbus"]
        lines.append(
            f"{each['server']:<11} {each['connections']:>11}  {each['requests_per_s']:>10}"
            f"  {'-' if ratio is None else f'{ratio:.3f}':>12}  {each['p50_us']:>7}"
            f"  {each['p99_us']:>7}  {each['cpu_us']:>14.1f}"
        )
    return "\n".join([*lines, *notes])


def measure(
    folder: Path, connections: Sequence[int], seconds: float, rounds: int
) -> tuple[list[dict[str, Any]], list[str]]:
    """Builds in `folder` and measures. Raises UserError without a C compiler.

    Returns:
        One entry a server and number of connections, and what has to be said beside.
    """
    load = build(folder, "modbusbench_load.c")
    commands = {
        name: [sys.executable, "-m", "clamptools.modbusbench_servers", name]
        for name in PYTHON_SERVERS
    }
    notes = []
    try:
        commands = {
            LIBMODBUS: [str(build(folder, "modbusbench_libmodbus.c", LIBMODBUS))]
        } | commands
    except UserError as error:
        notes.append(f"libmodbus is not compared: {error}")
    found: dict[tuple[str, int], list[Round]] = {}
    with ExitStack() as stack:
        servers = {
            name: stack.enter_context(_server(folder, name, command))
            for name, command in commands.items()
        }
        for turn in range(rounds):
            order = list(servers)
            for number in connections:
                # Each begins as often as the others: what is first after a pause runs cooler.
                for name in order[turn % len(order) :] + order[: turn % len(order)]:
                    process, port = servers[name]
                    one = _load(load, process.pid, port, number, seconds)
                    found.setdefault((name, number), []).append(one)
    return [_entry(name, number, found) for name, number in sorted(found, key=_by_load)], notes


def _by_load(key: tuple[str, int]) -> tuple[int, str]:
    return key[1], key[0]


def _entry(
    name: str, connections: int, found: dict[tuple[str, int], list[Round]]
) -> dict[str, Any]:
    own = found[name, connections]
    yardstick = found.get((LIBMODBUS, connections), [])
    ratios = [
        one.requests_per_s / other.requests_per_s
        for one, other in zip(own, yardstick, strict=False)
    ]
    return {
        "server": name,
        "connections": connections,
        "requests_per_s": round(statistics.median(one.requests_per_s for one in own)),
        "p50_us": round(statistics.median(one.p50_us for one in own)),
        "p99_us": round(statistics.median(one.p99_us for one in own)),
        # Of the rounds, since two servers are comparable within one round only.
        "ratio_to_libmodbus": round(statistics.median(ratios), 3) if ratios else None,
        "cpu_us": round(statistics.median(one.cpu_us for one in own), 2),
        "bad": sum(one.bad for one in own),
    }


def build(folder: Path, source: str, *libraries: str) -> Path:
    """Compiles a C file of this folder. Raises UserError if that cannot be."""
    compiler = shutil.which(os.environ.get("CC", "cc"))
    if compiler is None:
        raise UserError("no C compiler (cc) is here: apt-get install gcc libc6-dev")
    target = folder / Path(source).stem
    command = [compiler, "-O2", "-o", str(target), str(HERE / source)]
    for library in libraries:
        command += [f"-I/usr/include/{library.removeprefix('lib')}", "-l" + library[3:]]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    if done.returncode:
        lines = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        wanted = "".join(f"; apt-get install {library}-dev" for library in libraries)
        raise UserError(f"{source} does not compile: {lines[0]}{wanted}")
    return target


@contextmanager
def _server(
    folder: Path, name: str, command: list[str]
) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """A running server and its port. Raises UserError if it does not start."""
    # What it complains of: pymodbus prints its last frames when a client hangs up.
    said = folder / f"{name}.log"
    with said.open("wb") as log:
        process = subprocess.Popen(
            [*command, str(schema.DEVICE_SIZE)],
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line.strip().isdigit():
            last = said.read_text(errors="replace").strip().rpartition("\n")[2]
            raise UserError(f"the server {name} does not start: {last or 'it says nothing'}")
        yield process, int(line)
    finally:
        process.terminate()
        try:
            process.wait(START_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _load(load: Path, pid: int, port: int, connections: int, seconds: float) -> Round:
    before = _cpu_s(pid)
    done = subprocess.run(
        [
            str(load), str(port), str(connections), str(WARMUP_S), str(seconds), str(UNIT),
            str(FIRST), str(COUNT),
        ],
        capture_output=True,
        text=True,
        timeout=30 + 2 * seconds,
        check=False,
    )  # fmt: skip
    if done.returncode:
        raise UserError(f"{connections} connections to port {port}: {done.stderr.strip()}")
    got = json.loads(done.stdout)
    cpu_s = _cpu_s(pid) - before
    whole = got["requests"] * (seconds + WARMUP_S) / seconds
    return Round(
        got["requests"] / got["seconds"],
        got["p50_us"],
        got["p99_us"],
        1e6 * cpu_s / max(1.0, whole),
        got["bad"],
    )


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
