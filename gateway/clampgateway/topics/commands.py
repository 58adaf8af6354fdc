"""Commands over MQTT: what a request may say, and how it is answered. Pure.

A request comes from anybody whom the broker lets publish. Whatever it holds, it is either one of
these or refused with a reason; nothing of it is believed before it is checked.
"""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from clampgateway.model import GatewayError

PAYLOAD_MAX = 4096
DEPTH_MAX = 8
_UINT32 = 0xFFFFFFFF
_Number = Annotated[int, Meta(ge=0, le=_UINT32)]
Ident = Annotated[str, Meta(min_length=1, max_length=64)] | Annotated[int, Meta(ge=0, le=1 << 53)]
_encode = msgspec.json.Encoder().encode


class CommandRefused(GatewayError):
    """A request that is not carried out. `reason` is a word, the text says what to do."""

    def __init__(self, reason: str, text: str) -> None:
        super().__init__(text)
        self.reason = reason


class Replay(Struct, forbid_unknown_fields=True):
    """`cmd/replay`. `device` only where the topic names none: at the gateway's own."""

    boot: _Number
    first: _Number
    last: _Number
    id: Ident | None = None
    device: Annotated[str, Meta(max_length=64)] | None = None


class Request(Struct, forbid_unknown_fields=True):
    """Any other command: its arguments are the device's to judge."""

    id: Ident | None = None
    args: dict[str, Any] = {}


class Answer(Struct, omit_defaults=True):
    """The answer to a command. Without `ok`: `reason` is a word, `error` says it."""

    ok: bool
    id: str | int | UnsetType = UNSET
    reason: str = ""
    error: str = ""
    answer: dict[str, Any] | UnsetType = UNSET


class ReplayAnswer(Struct):
    """The answer to a replay that was carried out."""

    ok: bool
    records: int
    events: int
    gaps: int
    condensed: int
    missing: list[list[int]]
    id: str | int | UnsetType = UNSET


def parse(name: str, payload: bytes) -> Replay | Request:
    """The request in a payload. Raises CommandRefused; harmless for any bytes."""
    if len(payload) > PAYLOAD_MAX:
        raise CommandRefused(
            "oversize", f"the request has {len(payload)} bytes, at most {PAYLOAD_MAX} are read"
        )
    if _deeper_than(payload, DEPTH_MAX):
        raise CommandRefused("deep", f"the request is nested more than {DEPTH_MAX} deep")
    kind = Replay if name == "replay" else Request
    try:
        request = msgspec.json.decode(payload or b"{}", type=kind)
    except msgspec.ValidationError as error:
        raise CommandRefused("wrong_type", f"the request does not fit: {error}") from error
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
        raise CommandRefused("no_json", f"the request is not JSON: {error}") from error
    if isinstance(request, Replay):
        if request.first > request.last:
            raise CommandRefused(
                "wrong_range", f"first is {request.first}, above last, {request.last}"
            )
    return request


def answer_payload(answer: Answer | ReplayAnswer) -> bytes:
    """JSON of an answer."""
    return _encode(answer)


def _deeper_than(payload: bytes, most: int) -> bool:
    """Whether brackets are nested so deep, in texts too: a bound, not a parser."""
    depth = 0
    for byte in payload:
        if byte in b"[{":
            depth += 1
            if depth > most:
                return True
        elif byte in b"]}":
            depth -= 1
    return False
