"""Measures a whole gateway: frames in over TCP and ptys, committed, acknowledged, published.

`clampwork bench gateway`. In the same run the floor (the same bytes appended and synced, the same
messages published over a bare socket) and peers that are installed, because only ratios of one
run say something on a machine that does other things, too.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from clamptools.demo.processes import ChildError
from clamptools.errors import UserError
from clamptools.gatewaybench.measure import Load, Run
from clamptools.gatewaybench.peers import PEERS, THINGSBOARD, peers_of
from clamptools.gatewaybench.rig import Rig

EXAMPLE = """
clampwork bench gateway
clampwork bench gateway --rate 8000 --seconds 20 --json
"""
FAILED = 1
FLOOR_RECORDS = 50_000
FLOOR_TIMEOUT_S = 120.0
FLOOR_WINDOW = 100
# What a commit of the gateway holds at most, and at a rate: one every 0.25 s.
COMMITS_HZ = 4
CONNECTIONS_MAX = 256


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--tcp", type=int, default=56, metavar="N", help="devices over TCP")
    parser.add_argument("--ptys", type=int, default=8, metavar="N", help="devices at ptys")
    parser.add_argument(
        "--rate", type=float, default=4000.0, metavar="HZ", help="records a second of all devices"
    )
    parser.add_argument("--seconds", type=float, default=10.0, metavar="S")
    parser.add_argument("--outage", type=float, default=10.0, metavar="S", help="without a broker")
    parser.add_argument(
        "--peers",
        metavar="NAMES",
        default=",".join(PEERS),
        help="whom to compare with, with commas, or none (default: %(default)s)",
    )
    parser.add_argument(
        "--thingsboard",
        default=THINGSBOARD,
        metavar="PROGRAM",
        help="ThingsBoard's gateway, which is no part of this project: where it is installed in an"
        " environment of its own (default: %(default)s, left out where it is not found)",
    )
    parser.add_argument("--folder", type=Path, help="where the store is made (default: a new one)")
    parser.add_argument(
        "--profile", type=Path, metavar="FILE", help="write what the gateway's loop spent time on"
    )
    parser.add_argument("--json", action="store_true", help="one JSON object")


def run(args: argparse.Namespace) -> int:
    """Raises UserError for arguments that cannot be, or without mosquitto."""
    if args.tcp < 0 or args.ptys < 0 or not args.tcp + args.ptys >= 1:
        raise UserError("--tcp and --ptys: at least one device is needed")
    if args.tcp > CONNECTIONS_MAX:
        raise UserError(f"--tcp is {args.tcp}: at most {CONNECTIONS_MAX}, as the gateway takes")
    if args.rate <= 0 or args.seconds <= 0 or args.outage <= 0:
        raise UserError("--rate, --seconds and --outage must be above 0")
    load = Load(args.tcp, args.ptys, args.rate, args.seconds, args.outage)
    with tempfile.TemporaryDirectory(prefix="clampwork-bench-", dir=args.folder) as name:
        folder = Path(name)
        try:
            with Rig(folder, profile=args.profile) as rig:
                phases = asyncio.run(Run(rig, load).measure())
                floor = _floor(rig, phases["data"])
        except (ChildError, TimeoutError) as error:
            print(f"clampwork bench gateway: {error}", file=sys.stderr)
            return FAILED
        peers = peers_of(args.peers, folder, phases["data"]["message_bytes"], args.thingsboard)
    result = result_of(load, phases, floor, peers)
    print(json.dumps(result) if args.json else text_of(result))
    return 0 if result["doubled"] == 0 else FAILED


def result_of(
    load: Load, phases: dict[str, Any], floor: dict[str, float], peers: dict[str, Any]
) -> dict[str, Any]:
    """The JSON object. Rates are those of 90 % of one core at the processor time measured."""
    data, history = phases["data"], phases["history"]
    cpu_us = data["cpu_us_per_record"]
    for peer in peers.values():
        if "cpu_us_per_record" in peer:
            peer["ratio_of_cpu"] = round(peer["cpu_us_per_record"] / cpu_us, 3)
    return {
        "records_per_s": data["records_per_s"],
        "cpu_us_per_record": cpu_us,
        "rss_mb": max(data["rss_peak_mb"], history["rss_peak_mb"]),
        "latency_p50_ms": data["latency_p50_ms"],
        "latency_p99_ms": data["latency_p99_ms"],
        "bytes_written_per_record": data["bytes_written_per_record"],
        "ratio_to_floor": round(cpu_us / floor["cpu_us_per_record"], 2),
        "lanes": {"data": data, "history": history},
        "ingest": phases["ingest"],
        "idle_cpu_share": phases["idle_cpu_share"],
        "doubled": phases["doubled"],
        "floor": floor,
        "peers": peers,
        "devices": {"tcp": load.tcp, "ptys": load.ptys},
    }


def text_of(result: dict[str, Any]) -> str:
    """The result as a person reads it."""
    lanes = result["lanes"]
    lines = [
        f"{'':<22} CPU us/record  records/s at 90 % of a core",
        *(
            f"{name:<22} {each['cpu_us_per_record']:>13}  {each['records_per_s']:>26}"
            for name, each in (
                ("one message a record", lanes["data"]),
                ("without a broker", result["ingest"]),
                ("catching up", lanes["history"]),
            )
        ),
        f"{'floor':<22} {result['floor']['cpu_us_per_record']:>13}",
        f"{'devices there, idle':<22} {100 * result['idle_cpu_share']:>12.1f} % of one core",
        (
            f"offered {lanes['data']['offered_per_s']} records/s, of which"
            f" {lanes['data']['messages']} of {lanes['data']['records']} one message a record,"
            f" at the subscriber after {result['latency_p50_ms']} ms (median),"
            f" {result['latency_p99_ms']} ms (p99); {result['rss_mb']} MB,"
            f" {result['bytes_written_per_record']} bytes written a record"
        ),
        (
            f"caught up with {lanes['history']['measured_per_s']} records/s,"
            f" {lanes['history']['records_per_message']} a message; live meanwhile after"
            f" {lanes['history']['live_latency_p95_ms']} ms (p95)"
        ),
    ]
    for name, peer in result["peers"].items():
        lines.append(f"{name}: {json.dumps(peer)}")
    return "\n".join(lines)


def _floor(rig: Rig, data: dict[str, Any]) -> dict[str, float]:
    """Processor time a record of the least that has to be done, in us."""
    batch = max(1, round(data["offered_per_s"] / COMMITS_HZ))
    stored = _timed("append", rig.folder, FLOOR_RECORDS, data["frame_bytes"], batch)
    sent = _timed("publish", rig.mqtt_port, FLOOR_RECORDS, data["message_bytes"], FLOOR_WINDOW)
    return {
        "append_us": round(1e6 * stored / FLOOR_RECORDS, 2),
        "publish_us": round(1e6 * sent / FLOOR_RECORDS, 2),
        "cpu_us_per_record": round(1e6 * (stored + sent) / FLOOR_RECORDS, 2),
    }


def _timed(what: str, *arguments: object) -> float:
    """Processor seconds of a floor. Raises UserError if it fails."""
    command = [sys.executable, "-m", "clamptools.gatewaybench.floor", what, *map(str, arguments)]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=FLOOR_TIMEOUT_S, check=False
    )
    if done.returncode:
        raise UserError(f"the floor cannot be measured: {done.stderr}")
    return json.loads(done.stdout)["cpu_s"]
