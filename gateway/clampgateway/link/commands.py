"""Commands on their way to a device, and their answers: numbers, time-outs, bounds.

The link sends what `encode` gives; this file knows which answers are awaited and for how long.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import msgspec

from clampgateway.model import GatewayError
from clampwire import messages
from clampwire.codec import Codec

TIMEOUT_US = 5_000_000
AWAITED_MAX = 8
# Commands of the link itself; their answers tell nothing and are not awaited.
UNAWAITED = 0
_CODEC = Codec()


class LinkError(GatewayError):
    """A link that cannot do what was asked now; the text names the device and why."""


class Answer(NamedTuple):
    """A device's answer. `status` is a word of ANSWER_STATUS, `timeout` or `disconnected`."""

    id: int
    status: str
    body: dict[str, Any]


class _Awaited(NamedTuple):
    until_us: int
    on_answer: Callable[[Answer], None]


class Commands:
    """The commands of one link."""

    def __init__(self, first_id: int) -> None:
        self._next_id = max(1, first_id & 0xFFFFFFFF)
        self._awaited: dict[int, _Awaited] = {}
        self._sent = 0
        self._timeouts = 0
        self._unmatched = 0

    def ask(
        self,
        device: str,
        name: str,
        args: Mapping[str, object],
        on_answer: Callable[[Answer], None],
        now_us: int,
    ) -> tuple[int, bytes]:
        """(id, Command payload); `on_answer` is called exactly once. Raises LinkError."""
        if len(self._awaited) >= AWAITED_MAX:
            raise LinkError(f"device {device}: {AWAITED_MAX} commands wait for answers; try later")
        ident = self._next_id
        payload = encode(device, ident, name, args)
        self._next_id = ident + 1 if ident < 0xFFFFFFFF else 1
        self._awaited[ident] = _Awaited(now_us + TIMEOUT_US, on_answer)
        self._sent += 1
        return ident, payload

    def answered(self, ident: int, status: int, body: bytes) -> None:
        """Take an Answer as it came."""
        if ident == UNAWAITED:
            return
        awaited = self._awaited.pop(ident, None)
        if awaited is None:
            self._unmatched += 1
            return
        word = messages.name_of(messages.ANSWER_STATUS, status)
        try:
            said = msgspec.json.decode(body or b"{}", type=dict[str, Any])
        except (msgspec.MsgspecError, RecursionError) as error:
            word, said = "failed", {"error": f"the answer is not a JSON object: {error}"}
        awaited.on_answer(Answer(ident, word, said))

    def expire(self, now_us: int) -> None:
        """Answer for devices that did not."""
        late = [ident for ident, waits in self._awaited.items() if now_us >= waits.until_us]
        for ident in late:
            self._timeouts += 1
            waits = self._awaited.pop(ident)
            waits.on_answer(Answer(ident, "timeout", {"error": "the device did not answer"}))

    def stats(self) -> dict[str, float]:
        return {
            "commands": self._sent,
            "command_timeouts": self._timeouts,
            "answers_unmatched": self._unmatched,
        }

    def give_up(self) -> None:
        """The link is gone: everybody who waits is told."""
        awaited, self._awaited = self._awaited, {}
        for ident, waits in awaited.items():
            waits.on_answer(Answer(ident, "disconnected", {"error": "the link was lost"}))


def encode(device: str, ident: int, name: str, args: Mapping[str, object]) -> bytes:
    """The payload of a Command. Raises LinkError if a device could not take it."""
    payload = _CODEC.encode("Command", ident, name, msgspec.json.encode(args))
    if len(payload) > messages.PAYLOAD_MAX_TO_DEVICE:
        raise LinkError(
            f"device {device}: command {name} has {len(payload)} bytes,"
            f" at most {messages.PAYLOAD_MAX_TO_DEVICE}: give it shorter arguments"
        )
    return payload
