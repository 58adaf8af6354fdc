"""Runs the gateway, checks its configuration, or asks a running one to release a serial port.

Owns the arguments and what is printed. The gateway itself is `clampgateway.app`; a running one
is asked over its HTTP API, which it is found by through its state folder.
"""

from __future__ import annotations

import argparse
import http.client
import json
import sys
from pathlib import Path

from clamptools.cli import add_action
from clamptools.errors import UserError

EXAMPLE = """
clampwork gateway check-config gateway.toml
clampwork gateway run gateway.toml
clampwork gateway release /dev/ttyACM0 --seconds 60
"""
SYSTEM_FILE = Path("/etc/clampwork/gateway.toml")
SYSTEM_STATE_DIR = Path("/var/lib/clampwork")
REQUEST_TIMEOUT_S = 10
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
    where = release.add_mutually_exclusive_group()
    where.add_argument(
        "--config", type=Path, metavar="FILE", help="the running gateway's configuration"
    )
    where.add_argument("--state-dir", type=Path, metavar="DIR", help="its state folder")


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
    from clampgateway.api.access import AccessError, find

    try:
        access = find(_state_dir(args))
    except AccessError as error:
        raise UserError(str(error)) from error
    body = json.dumps({"port": args.port, "seconds": args.seconds})
    headers = {"authorization": f"Bearer {access.token}", "content-type": "application/json"}
    connection = http.client.HTTPConnection(access.host, access.port, timeout=REQUEST_TIMEOUT_S)
    try:
        connection.request("POST", "/api/v1/ports/release", body, headers)
        response = connection.getresponse()
        answer = json.loads(response.read())
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise UserError(
            f"the gateway at {access.host} port {access.port} does not answer ({error}): "
            "has it been stopped?"
        ) from error
    finally:
        connection.close()
    if response.status != http.HTTPStatus.OK:
        raise UserError(str(answer.get("detail", answer)))
    print(f"{answer['port']} is free for {answer['seconds']:g} s")
    return 0


def _state_dir(args: argparse.Namespace) -> Path:
    """The state folder of the gateway that is meant: named, configured, ours, or the system's."""
    from clampgateway.api.access import ADDRESS_FILE
    from clampgateway.config import ConfigError, default_state_dir, load
    from clampgateway.parts import sections

    if args.state_dir is not None:
        return args.state_dir
    if args.config is not None:
        try:
            return load(args.config, sections()).state_dir
        except ConfigError as error:
            raise UserError(str(error)) from error
    own = default_state_dir()
    if not (own / ADDRESS_FILE).exists() and SYSTEM_STATE_DIR.exists():
        return SYSTEM_STATE_DIR
    return own
