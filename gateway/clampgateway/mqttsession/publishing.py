"""Publishing at QoS 1 on one connection: packet ids, the window, what has no answer yet.

The fast path of the gateway: a message is put together here from its parts, and nothing is
computed twice that is equal in many.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import NoReturn

from clampgateway.mqttsession import packets
from clampgateway.mqttsession.line import Line
from clampgateway.mqttsession.values import Broker, SessionLost, Tally, TooLarge

OnAck = Callable[[int], None]

ID_MAX = 0xFFFF
_KEPT_MAX = 4096
_ANSWERS_MAX = 32
_QOS_1, _RETAIN = 0x02, 0x01


class Publisher:
    """Publishes over a line, at most `window` messages unanswered at a time.

    Attributes:
        broker: To whom.
        window: Messages that may be in flight: the broker's Receive Maximum if that is smaller.
        packet_max: Bytes of the largest packet that the broker takes.
        acked: Messages that it answered.
    """

    def __init__(self, broker: Broker, line: Line, tally: Tally) -> None:
        self.broker = broker
        self.window = broker.window
        self.packet_max = packets.REMAINING_MAX
        self.acked = 0
        self._v5 = broker.protocol == "5"
        self._line = line
        self._tally = tally
        self._pending: dict[int, OnAck] = {}
        self._reserved: dict[int, asyncio.Future[list[int]]] = {}  # packet ids of other packets
        self._awaited: set[asyncio.Future[int]] = set()
        self._answers: deque[tuple[str, bytes, bytes]] = deque()
        self._moved = asyncio.Event()
        self._last_id = 0
        self._largest = 0
        # What is the same in many messages: topics, and beginnings by their size.
        self._names: dict[str, bytes] = {}
        self._heads: dict[int, bytes] = {}

    # --- how it stands --------------------------------------------------------------------------

    @property
    def line(self) -> Line:
        """What it goes over."""
        return self._line

    @property
    def in_flight(self) -> int:
        """Published and not answered."""
        return len(self._pending)

    @property
    def ended(self) -> bool:
        """Whether there is no connection any more."""
        return self._line.ended

    @property
    def has_room(self) -> bool:
        """Whether a message may be sent now."""
        return len(self._pending) < self.window and not self._line.full

    @property
    def oldest(self) -> tuple[int, OnAck] | None:
        """The message that waits longest for its answer: equal while it is the same."""
        return next(iter(self._pending.items()), None)

    @property
    def largest(self) -> int:
        """Bytes of the largest packet since nothing was in flight."""
        return self._largest

    async def room(self) -> None:
        """Waits until a message may be sent. Raises SessionLost."""
        while not self.has_room:
            await self._move()

    async def drained(self) -> None:
        """Waits until every message is answered. Raises SessionLost."""
        while self._pending or self._answers:
            await self._move()

    # --- sending --------------------------------------------------------------------------------

    def send(
        self,
        topic: str,
        payload: bytes,
        on_ack: OnAck,
        *,
        retain: bool = False,
        expiry_s: int | None = None,
        properties: bytes = b"",
    ) -> None:
        """Publishes; call it when there is room. `on_ack` gets the reason code of the PUBACK.

        If the connection ends first, `on_ack` is never called. All that is sent in one turn of
        the loop leaves in one write.

        Args:
            topic: Where to. Raises ValueError for one with + or #.
            payload: Any bytes.
            on_ack: Called once, with the reason code; on 3.1.1 that is always 0.
            retain: Whether the broker keeps it.
            expiry_s: The broker forgets it after so long; nothing on 3.1.1.
            properties: More of them, from `packets.properties`; nothing on 3.1.1.

        Raises:
            SessionLost: The connection has ended.
            TooLarge: The broker would not take it; nothing was sent.
        """
        line = self._line
        if line.ended:
            self._fail(f"publish of {len(payload)} bytes")
        name = self._names.get(topic) or self._name(topic)
        packet_id = self._last_id + 1
        if packet_id > ID_MAX or packet_id in self._pending or self._reserved:
            packet_id = self._free_id()
        if not self._v5:
            middle = packet_id.to_bytes(2, "big")
        elif properties or expiry_s is not None:
            properties += packets.properties(expiry_s=expiry_s)
            middle = packet_id.to_bytes(2, "big") + packets.with_length(properties)
        else:
            middle = (packet_id << 8).to_bytes(3, "big")  # and no properties
        size = len(name) + len(middle) + len(payload)
        head = self._heads.get(size << 1 | retain) or self._head(size, retain=retain)
        size += len(head)
        if size > self.packet_max:
            self._tally.too_large += 1
            raise TooLarge(size, self.packet_max)
        if size > self._largest:
            self._largest = size
        self._last_id = packet_id
        self._pending[packet_id] = on_ack
        self._tally.sent += 1
        line.write_sized((head, name, middle, payload), size)

    async def publish(
        self, topic: str, payload: bytes, *, retain: bool = False, expiry_s: int | None = None
    ) -> int:
        """Publishes and waits for the PUBACK; returns its reason code. Raises as `send` does."""
        await self.room()
        answer: asyncio.Future[int] = asyncio.get_running_loop().create_future()

        def on_ack(code: int) -> None:
            if not answer.done():
                answer.set_result(code)

        self.send(topic, payload, on_ack, retain=retain, expiry_s=expiry_s)
        self._awaited.add(answer)
        try:
            return await answer
        finally:
            self._awaited.discard(answer)

    def respond(self, topic: str, payload: bytes, correlation: bytes | None = None) -> None:
        """Answers a message, at QoS 1 and with its Correlation Data (not on 3.1.1).

        Waits its turn if the window is full; what cannot be kept for so long, or is too large, is
        thrown away and counted. Raises ValueError for a topic that cannot be one.
        """
        packets.topic_name(topic)
        if len(self._answers) >= _ANSWERS_MAX or self._line.ended:
            self._tally.answers_dropped += 1
            return
        self._answers.append((topic, payload, packets.properties(correlation=correlation)))
        self._send_answers()

    # --- answers --------------------------------------------------------------------------------

    def acknowledged(self, acks: list[tuple[int, int]]) -> None:
        """PUBACKs have come."""
        pending, tally = self._pending, self._tally
        for packet_id, code in acks:
            on_ack = pending.pop(packet_id, None)
            if on_ack is None:
                tally.stray += 1
                continue
            self.acked += 1
            if code:
                tally.answered(code)
            else:
                tally.acked += 1
            on_ack(code)
        if not pending:
            self._largest = 0
        self.moved()

    def moved(self) -> None:
        """There may be room, or there is no line any more."""
        if self._line.ended:
            self._forsake()
        elif self._answers:
            self._send_answers()
        self._moved.set()

    def _forsake(self) -> None:
        """Whoever waits for an answer waits no longer."""
        for answer in (*self._reserved.values(), *self._awaited):
            if not answer.done():
                answer.set_exception(SessionLost(str(self._line.error)))

    # --- parts ----------------------------------------------------------------------------------

    async def _move(self) -> None:
        if self._line.ended:
            self._fail("waiting for the broker")
        self._moved.clear()
        self._line.flush()
        await self._moved.wait()

    def _fail(self, what: str) -> NoReturn:
        raise SessionLost(f"{what}: {self._line.error or 'the connection has ended'}")

    def _send_answers(self) -> None:
        while self._answers and self.has_room:
            topic, payload, properties = self._answers.popleft()
            try:
                self.send(topic, payload, _ignore, properties=properties)
            except TooLarge:
                self._tally.answers_dropped += 1

    def _name(self, topic: str) -> bytes:
        if len(self._names) >= _KEPT_MAX:
            self._names.clear()
        name = self._names[topic] = packets.topic_name(topic)
        return name

    def _head(self, size: int, *, retain: bool) -> bytes:
        if size > packets.REMAINING_MAX:
            self._tally.too_large += 1
            raise TooLarge(size, packets.REMAINING_MAX)
        if len(self._heads) >= _KEPT_MAX:
            self._heads.clear()
        first = packets.PUBLISH | _QOS_1 | (_RETAIN if retain else 0)
        head = self._heads[size << 1 | retain] = bytes((first,)) + packets.variable(size)
        return head

    def _free_id(self) -> int:
        packet_id = self._last_id
        while True:
            packet_id = packet_id + 1 if packet_id < ID_MAX else 1
            if packet_id not in self._pending and packet_id not in self._reserved:
                return packet_id


def _ignore(_code: int) -> None:
    """The tally counts what is refused."""
