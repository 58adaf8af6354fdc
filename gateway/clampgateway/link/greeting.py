"""Hello and Welcome: who speaks, whether it can be served, and the answer."""

from __future__ import annotations

import re
from typing import Any

from clampgateway.model import Identity
from clampwire import messages
from clampwire.codec import Codec

NAME_BYTES_MAX = 32
REASON_BYTES_MAX = 110
# Device ids become topics, file names and log lines.
_DEVICE_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_CODEC = Codec()


def identity_of(hello: Any) -> Identity:  # noqa: ANN401 - a namedtuple made from the table
    """What the Hello says of its sender. `boot` may still be raised by the Welcome."""
    return Identity(
        hello.device,
        hello.name,
        hello.board,
        hello.firmware,
        hello.runtime,
        f"{hello.wire_major}.{hello.wire_minor}",
        hello.boot,
        hello.describe_crc,
        messages.name_of(messages.RESET_CAUSES, hello.reset_cause),
    )


def id_problem(device: str) -> str:
    """Why a device cannot be served under this id; empty if it can."""
    if _DEVICE_ID.fullmatch(device):
        return ""
    return (
        f"device id {device[:40]!r} must be 1 to 64 letters, digits, _ . -,"
        " the first a letter or digit"
    )


def version_problem(hello: Any) -> str:  # noqa: ANN401
    """Why a device of this wire version cannot be served, naming both; empty if it can."""
    if hello.wire_major == messages.WIRE_MAJOR:
        return ""
    older = "gateway" if hello.wire_major > messages.WIRE_MAJOR else "device"
    return (
        f"device speaks wire {hello.wire_major}.{hello.wire_minor}, this gateway"
        f" {messages.WIRE_MAJOR}.{messages.WIRE_MINOR}: update the {older}"
    )


def welcome(nonce: int, highest_boot: int, gateway_id: str, reason: str) -> bytes:
    """The payload of a Welcome, short enough for a device; refused if there is a reason."""
    return _CODEC.encode(
        "Welcome",
        messages.WIRE_MAJOR,
        messages.WIRE_MINOR,
        _CODEC.table_crc,
        nonce,
        0 if reason else 1,
        highest_boot,
        _cut(gateway_id, NAME_BYTES_MAX),
        _cut(reason, REASON_BYTES_MAX),
    )


def _cut(text: str, most: int) -> str:
    return text.encode()[:most].decode(errors="ignore")
