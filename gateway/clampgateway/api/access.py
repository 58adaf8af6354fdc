"""How a program of the same user finds and may use the API: two files in the state folder.

Owns `api.json` (where it listens) and `api.token` (who may change something), both mode 0600.
The gateway writes them, the command line reads them; nothing here speaks HTTP.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import secrets
import stat
from pathlib import Path
from typing import NamedTuple

from clampgateway.model import GatewayError

log = logging.getLogger(__name__)

ADDRESS_FILE = "api.json"
TOKEN_FILE = "api.token"
TOKEN_BYTES = 32


class AccessError(GatewayError):
    """No running gateway is found, or this user may not use it."""


class Access(NamedTuple):
    """Where the API of a running gateway is, and the token for it."""

    host: str
    port: int
    token: str


def write_address(state_dir: Path, host: str, port: int) -> None:
    """Tells where the API listens. Raises OSError."""
    text = json.dumps({"host": host, "port": port, "pid": os.getpid()})
    _write_private(state_dir / ADDRESS_FILE, text + "\n")


def remove_address(state_dir: Path) -> None:
    """The API no longer listens."""
    with contextlib.suppress(FileNotFoundError):
        (state_dir / ADDRESS_FILE).unlink()


def own_token(state_dir: Path) -> str:
    """The token, made at first use. One that others could have read is replaced by a new one."""
    path = state_dir / TOKEN_FILE
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
        token = path.read_text("ascii").strip()
    except FileNotFoundError:
        token, mode = "", 0
    if mode & 0o077:
        log.warning("token replaced, others could read it file=%s mode=%04o", path, mode)
    if len(token) < TOKEN_BYTES or mode & 0o077:
        token = secrets.token_urlsafe(TOKEN_BYTES)
        _write_private(path, token + "\n")
    return token


def find(state_dir: Path) -> Access:
    """Reads both files, for a client.

    Raises:
        AccessError: No gateway runs with this state folder, or its files are another user's.
    """
    try:
        address = json.loads((state_dir / ADDRESS_FILE).read_text("utf-8"))
        token = (state_dir / TOKEN_FILE).read_text("ascii").strip()
        return Access(str(address["host"]), int(address["port"]), token)
    except FileNotFoundError as error:
        raise AccessError(f"no gateway runs with the state folder {state_dir}") from error
    except PermissionError as error:
        raise AccessError(
            f"{error.filename} belongs to another user: run this as the gateway's user"
        ) from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise AccessError(f"{state_dir / ADDRESS_FILE} cannot be used: {error}") from error


def _write_private(path: Path, text: str) -> None:
    """Replaces a file in one step; at no moment has it another mode than 0600."""
    new = path.with_name(f".{path.name}.new")
    with contextlib.suppress(FileNotFoundError):
        new.unlink()
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
    new.replace(path)
