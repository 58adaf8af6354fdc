"""Asks a running gateway over its HTTP API, as the one control path of the command line.

Owns how the gateway is found, through its state folder, and what a user sees when it is not there
or refuses. What is asked, and how the answer is shown, is the commands'.
"""

from __future__ import annotations

import argparse
import http.client
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from clamptools.errors import UserError

SYSTEM_STATE_DIR = Path("/var/lib/clampwork")
REQUEST_TIMEOUT_S = 10


def add_where(parser: argparse.ArgumentParser) -> None:
    """The arguments that say which gateway is meant."""
    where = parser.add_mutually_exclusive_group()
    where.add_argument(
        "--config", type=Path, metavar="FILE", help="the running gateway's configuration"
    )
    where.add_argument("--state-dir", type=Path, metavar="DIR", help="its state folder")


def post(args: argparse.Namespace, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
    """Sends a request with the token and returns its answer.

    Args:
        args: With what `add_where` adds.
        path: Of the API.
        body: JSON.

    Raises:
        UserError: No gateway runs there, or it refused, with its words.
    """
    return _ask(args, "POST", path, json.dumps(body))


def get(args: argparse.Namespace, path: str) -> dict[str, Any]:
    """Asks for something and returns the answer. Raises UserError."""
    return _ask(args, "GET", path)


def delete(args: argparse.Namespace, path: str) -> dict[str, Any]:
    """Lets something be removed and returns the answer. Raises UserError."""
    return _ask(args, "DELETE", path)


def _ask(
    args: argparse.Namespace, method: str, path: str, body: str | None = None
) -> dict[str, Any]:
    from clampgateway.api.access import AccessError, find

    try:
        access = find(_state_dir(args))
    except AccessError as error:
        raise UserError(str(error)) from error
    headers = {"authorization": f"Bearer {access.token}", "content-type": "application/json"}
    connection = http.client.HTTPConnection(access.host, access.port, timeout=REQUEST_TIMEOUT_S)
    try:
        connection.request(method, path, body, headers)
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
    return answer


def command(
    args: argparse.Namespace, device: str, name: str, arguments: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Gives a device a command and returns what it answers. Raises UserError."""
    path = f"/api/v1/devices/{quote(device, safe='')}/command"
    return post(args, path, {"name": name, "args": dict(arguments or {})})["answer"]


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
