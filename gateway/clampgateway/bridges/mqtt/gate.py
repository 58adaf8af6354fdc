"""The gate for commands by MQTT: what is let in, once, and at what rate. Pure.

Whoever may publish below our root can send anything. What is refused changes nothing here but a
counter; it is answered with a reason, except where an answer would help only the flood.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Collection
from typing import NamedTuple

from clampgateway import topics
from clampgateway.mqttsession import Message
from clampgateway.topics import Answer, CommandRefused, Replay, Request, Topics

REPLAY = "replay"
RATE_PER_S = 10.0
BURST = 100
REMEMBERED = 512
CORRELATION_MAX = 256
# Nobody waits for an answer to what the broker kept, and answering a flood would be another.
UNANSWERED = ("retained", "rate")


class Asked(NamedTuple):
    """A command that is to be carried out. `device` is None for the gateway itself."""

    key: tuple[str, bytes | str | int]
    device: str | None
    name: str
    request: Replay | Request
    message: Message

    @property
    def ident(self) -> str | int | None:
        """The request's own id."""
        return self.request.id


class Refusal(NamedTuple):
    """A command that is not. `payload` is the answer; None for none."""

    reason: str
    payload: bytes | None
    message: Message


class Again(NamedTuple):
    """A command that came before: the answer of then, None while it is not known."""

    payload: bytes | None
    message: Message


class Gate:
    """All commands of one bridge. `allowed` are the names beside replay."""

    def __init__(self, names: Topics, gateway_id: str, allowed: Collection[str]) -> None:
        self._names = names
        self._gateway_id = gateway_id
        self._allowed = frozenset(allowed)
        self._tokens = float(BURST)
        self._at_s: float | None = None
        self._seen: OrderedDict[tuple[str, bytes | str | int], tuple[bytes, bytes | None]]
        self._seen = OrderedDict()
        self.received = 0
        self.repeated = 0
        self.refused: Counter[str] = Counter()

    def check(self, message: Message, now_s: float) -> Asked | Refusal | Again:
        """What to do about a message. Never raises, whatever it holds."""
        self.received += 1
        try:
            device, name = self._place(message, now_s)
            request = topics.parse(name, message.payload)
        except CommandRefused as error:
            return self._refusal(error, message)
        try:
            return self._known(message, device, name, request)
        except CommandRefused as error:
            return self._refusal(error, message, request.id)

    def _place(self, message: Message, now_s: float) -> tuple[str | None, str]:
        """(device, command) of what may be looked into. Raises CommandRefused."""
        if message.retain:
            raise CommandRefused("retained", "commands must not be retained")
        if not self._in_time(now_s):
            raise CommandRefused("rate", f"more than {RATE_PER_S:g} commands a second came")
        if message.cut:
            size = len(message.payload) + message.cut
            raise CommandRefused(
                "oversize", f"the request has {size} bytes, at most {topics.PAYLOAD_MAX}"
            )
        place = self._names.command_of(message.topic, self._gateway_id)
        if place is None:
            raise CommandRefused("wrong_topic", "the topic is not one of a command")
        if place[1] != REPLAY and place[1] not in self._allowed:
            raise CommandRefused(
                "not_allowed", f"{place[1][:32]} is not in allow_commands of this gateway"
            )
        return place

    def _refusal(
        self, error: CommandRefused, message: Message, ident: str | int | None = None
    ) -> Refusal:
        self.refused[error.reason] += 1
        if error.reason in UNANSWERED:
            return Refusal(error.reason, None, message)
        answer = Answer(ok=False, reason=error.reason, error=str(error))
        if ident is not None:
            answer.id = ident
        return Refusal(error.reason, topics.answer_payload(answer), message)

    def answered(self, asked: Asked, payload: bytes) -> None:
        """The command was carried out, or could not be: the same request is answered so again."""
        known = self._seen.get(asked.key)
        if known is not None:
            self._seen[asked.key] = (known[0], payload)

    def forget(self, asked: Asked) -> None:
        """It was not begun: it may be asked for again."""
        self._seen.pop(asked.key, None)

    def _known(
        self, message: Message, device: str | None, name: str, request: Replay | Request
    ) -> Asked | Again:
        correlation = message.correlation
        if correlation is not None and len(correlation) > CORRELATION_MAX:
            raise CommandRefused(
                "oversize", f"the correlation data has more than {CORRELATION_MAX} bytes"
            )
        mark = request.id if request.id is not None else correlation
        if mark is None:
            raise CommandRefused("no_id", "give the request an id, or correlation data")
        key = (message.topic, mark)
        known = self._seen.get(key)
        if known is not None:
            if known[0] != message.payload:
                raise CommandRefused("id_used", f"the id {mark!r} was used by another request")
            self.repeated += 1
            return Again(known[1], message)
        self._seen[key] = (message.payload, None)
        while len(self._seen) > REMEMBERED:
            self._seen.popitem(last=False)
        return Asked(key, device, name, request, message)

    def _in_time(self, now_s: float) -> bool:
        if self._at_s is not None:
            earned = max(0.0, now_s - self._at_s) * RATE_PER_S
            self._tokens = min(float(BURST), self._tokens + earned)
        self._at_s = now_s
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True
