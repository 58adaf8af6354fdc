"""Commands to a device over the API: which ones there are, and what became of one.

Owns the allow-list and the status codes. The link carries the command; what a command does is the
firmware's.
"""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from starlette.exceptions import HTTPException

from clampgateway.link.commands import Answer

# What whoever holds the token may ask a device for. Updates and resets have ways of their own.
ALLOWED = (
    "why",
    "relearn",
    "status",
    "time",
    "identify",
    "counters",
    "uncertainty",
    "calibration",
    "calibrate",
    "measure_floor",
    "refine",
)
# HTTP status by what the link or the device says.
_CODES = {"bad_arguments": 422, "unknown_command": 501, "failed": 502}
_NO_ANSWER = 504


class Command(msgspec.Struct, forbid_unknown_fields=True):
    """Body of POST /api/v1/devices/{device}/command."""

    name: Annotated[str, msgspec.Meta(min_length=1, max_length=32)]
    args: dict[str, Any] = {}


def parse(body: bytes) -> Command:
    """The command of a request. Raises HTTPException 400, 403 or 422."""
    try:
        command = msgspec.json.decode(body, type=Command)
    except msgspec.ValidationError as error:
        raise HTTPException(422, f"{error}") from error
    except msgspec.DecodeError as error:
        example = '{"name": "why", "args": {}}'
        raise HTTPException(400, f"the body is not JSON ({error}): send {example}") from error
    if command.name not in ALLOWED:
        raise HTTPException(403, f"no command {command.name!r} here: {', '.join(ALLOWED)}")
    return command


def content(device: str, name: str, answer: Answer) -> dict[str, Any]:
    """What to say of an answer. Raises HTTPException where the device did not do it."""
    if answer.status == "ok":
        return {"device": device, "command": name, "answer": answer.body}
    detail = str(answer.body.get("error", answer.status))
    raise HTTPException(_CODES.get(answer.status, _NO_ANSWER), f"device {device}: {detail}")
