"""Runs the gateway, checks its configuration, or asks a running one to release a serial port.

Owns the arguments and what is printed. The gateway itself is `clampgateway.app`; a running one
is asked by `apiclient.py`.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from clamptools import apiclient
from clamptools.cli import add_action

EXAMPLE = """
clampwork gateway check-config gateway.toml
clampwork gateway run gateway.toml
clampwork gateway release /dev/ttyACM0 --seconds 60
"""
SYSTEM_FILE = Path("/etc/clampwork/gateway.toml")
RELEASE_S = 60.0


def configure(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    run = add_action(
        actions, "run", "run the gateway until SIGTERM", "clampwork gateway run gateway.toml"
    )
    check = add_action(
        actions,
        "check-config",
        "print every problem of a configuration, or what is in effect",
        "clampwork gateway check-config gateway.toml",
    )
    for action in (run, check):
        action.add_argument(
            "file",
            metavar="FILE",
            type=Path,
            nargs="?",
            default=SYSTEM_FILE,
            help=f"the configuration (default {SYSTEM_FILE})",
        )
    release = add_action(
        actions,
        "release",
        "close a serial port of a running gateway for some time",
        "clampwork gateway release /dev/ttyACM0 --seconds 60",
    )
    release.add_argument("port", metavar="PORT", help="the port's path, as the gateway shows it")
    release.add_argument(
        "--seconds",
        type=float,
        default=RELEASE_S,
        metavar="N",
        help=f"how long it stays free (default {RELEASE_S:g})",
    )
    apiclient.add_where(release)


def run(args: argparse.Namespace) -> int:
    if args.action == "release":
        return _release(args)
    from clampgateway.config import ConfigError, load
    from clampgateway.parts import sections

    try:
        config = load(args.file, sections())
    except ConfigError as error:
        print(error, file=sys.stderr)
        return 2
    if args.action == "check-config":
        print(f"ok: {config.summary()}")
        return 0
    from clampgateway.app import main

    return main(config)


def _release(args: argparse.Namespace) -> int:
    body = {"port": args.port, "seconds": args.seconds}
    answer = apiclient.post(args, "/api/v1/ports/release", body)
    print(f"{answer['port']} is free for {answer['seconds']:g} s")
    return 0
