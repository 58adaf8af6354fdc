"""One established connection: publishing with acknowledgements that mean something, subscribing.

Owns packet ids, the window of messages in flight, and the limits that the broker told. The bytes
go over `line`, messages that come in through `inbox`.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from typing import NoReturn

from clampgateway.mqttsession import decoding, packets, reasons
from clampgateway.mqttsession.inbox import Inbox
from clampgateway.mqttsession.line import Line
from clampgateway.mqttsession.splitter import Malformed, Packet
from clampgateway.mqttsession.values import Broker, Message, SessionLost, Tally, TooLarge

OnAck = Callable[[int], None]

_ID_MAX = 0xFFFF
_NAMES_MAX = 4096
_ANSWERS_MAX = 32
_QOS_1, _RETAIN = 0x02, 0x01


class Connection:
    """One connection. Publishes at QoS 1, at most `window` unanswered at a time.

    Attributes:
        broker: To whom.
        window: Messages that may be in flight: the broker's Receive Maximum if that is smaller.
        keepalive_s: The broker's Server Keep Alive, if it has one, else what was asked for.
        packet_max: Bytes of the largest packet that the broker takes.
        acked: Messages that it answered.
        end_code: Reason of the broker's DISCONNECT; None if there was none.
        end_server: Where it says to go instead; "" if it does not.
    """

    def __init__(self, broker: Broker, line: Line, tally: Tally) -> None:
        self.broker = broker
        self.window = broker.window
        self.keepalive_s = broker.keepalive_s
        self.packet_max = packets.REMAINING_MAX
        self.end_code: int | None = None
        self.end_server = ""
        self.acked = 0
        self.greeted: asyncio.Future[decoding.ConnAck] = asyncio.get_running_loop().create_future()
        self._v5 = broker.protocol == "5"
        self._line = line
        self._tally = tally
        self._pending: dict[int, OnAck] = {}
        self._subscribing: dict[int, asyncio.Future[list[int]]] = {}
        self._publishing: set[asyncio.Future[int]] = set()
        self._answers: deque[tuple[str, bytes, bytes]] = deque()
        self._moved = asyncio.Event()
        self._last_id = 0
        self._names: dict[str, bytes] = {}
        self._largest = 0
        self._inbox = Inbox(tally, self._acknowledge, v5=self._v5)
        line.attach(self)

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
        """The message that waits longest for its answer: the same object while it is the same."""
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

    async def _move(self) -> None:
        if self._line.ended:
            self._fail("waiting")
        self._moved.clear()
        self._line.flush()
        await self._moved.wait()

    def _fail(self, what: str) -> NoReturn:
        raise SessionLost(f"{what}: {self._line.error or 'the connection has ended'}")

    # --- publishing -----------------------------------------------------------------------------

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
        if not self._v5:
            more = b""
        elif properties or expiry_s is not None:
            properties += packets.properties(expiry_s=expiry_s)
            more = packets.variable(len(properties)) + properties
        else:
            more = b"\0"
        size = len(name) + 2 + len(more) + len(payload)
        if size + 5 > self.packet_max:
            self._check(size)
        if size > self._largest:
            self._largest = size
        packet_id = self._take_id()
        line.write(
            bytes((packets.PUBLISH | _QOS_1 | retain,)) + packets.variable(size),
            name,
            packet_id.to_bytes(2, "big") + more,
            payload,
        )
        self._pending[packet_id] = on_ack
        self._tally.sent += 1

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
        return await self._or_lost(answer, self._publishing)

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

    def _send_answers(self) -> None:
        while self._answers and self.has_room:
            topic, payload, properties = self._answers.popleft()
            try:
                self.send(topic, payload, _ignore, properties=properties)
            except TooLarge:
                self._tally.answers_dropped += 1

    def _name(self, topic: str) -> bytes:
        if len(self._names) >= _NAMES_MAX:
            self._names.clear()
        name = self._names[topic] = packets.topic_name(topic)
        return name

    def _check(self, size: int) -> None:
        whole = 1 + len(packets.variable(size)) + size if size <= packets.REMAINING_MAX else size
        if whole > self.packet_max:
            self._tally.too_large += 1
            raise TooLarge(whole, self.packet_max)

    def _take_id(self) -> int:
        packet_id = self._last_id
        while True:
            packet_id = packet_id + 1 if packet_id < _ID_MAX else 1
            if packet_id not in self._pending and packet_id not in self._subscribing:
                self._last_id = packet_id
                return packet_id

    # --- subscribing ----------------------------------------------------------------------------

    async def subscribe(
        self, filters: Sequence[str], on_message: Callable[[Message], None]
    ) -> list[int]:
        """Subscribes at QoS 1. Returns the broker's code for each filter: refused from REFUSED on.

        `on_message` is called in a turn of the loop of its own; what it raises ends the session's
        `run`. Raises SessionLost.
        """
        if self._line.ended:
            self._fail(f"subscribing to {len(filters)} topics")
        self._inbox.add(filters, on_message)
        packet_id = self._take_id()
        answer: asyncio.Future[list[int]] = asyncio.get_running_loop().create_future()
        self._subscribing[packet_id] = answer
        try:
            self._line.write(packets.subscribe(packet_id, filters, v5=self._v5))
            codes = await answer
        finally:
            self._subscribing.pop(packet_id, None)
        if len(codes) != len(filters):
            self._line.end(f"{len(codes)} answers for {len(filters)} topics", reasons.MALFORMED)
            self._fail("subscribing")
        return codes

    async def deliver(self) -> NoReturn:
        """Gives messages to their handlers; raises what they raise."""
        await self._inbox.deliver()
        raise AssertionError

    def _acknowledge(self, packet_id: int, code: int) -> None:
        if not self._line.ended:
            self._line.write(packets.puback(packet_id, code, v5=self._v5))

    # --- what comes over the line ---------------------------------------------------------------

    def acknowledged(self, acks: list[tuple[int, int]]) -> None:
        """PUBACKs have come."""
        pending, tally = self._pending, self._tally
        for packet_id, code in acks:
            on_ack = pending.pop(packet_id, None)
            if on_ack is None:
                tally.stray += 1
                continue
            self.acked += 1
            tally.answered(code)
            on_ack(code)
        if not pending:
            self._largest = 0
        self.moved()

    def arrived(self, packet: Packet) -> None:
        """Another packet has come. Raises Malformed."""
        kind = packet.first & 0xF0
        if kind != packets.PUBLISH and packet.first & 0x0F:
            raise Malformed(f"a packet that begins with 0x{packet.first:02X}")
        if kind != packets.PUBLISH and packet.size > len(packet.body):
            raise Malformed(f"a packet 0x{packet.first:02X} of {packet.size} bytes")
        if kind == packets.CONNACK and not self.greeted.done():
            self._greet(decoding.connack(packet, v5=self._v5))
        elif kind == packets.DISCONNECT and self._v5:
            self._told_to_go(decoding.disconnect(packet))
        elif not self.greeted.done():
            raise Malformed(f"0x{packet.first:02X} before the CONNACK")
        elif kind == packets.PUBLISH:
            self._inbox.take(packet)
        elif kind == packets.PUBACK:
            self.acknowledged([decoding.puback(packet, v5=self._v5)])
        elif kind == packets.SUBACK:
            packet_id, codes = decoding.suback(packet, v5=self._v5)
            answer = self._subscribing.get(packet_id)
            if answer is not None and not answer.done():
                answer.set_result(codes)
            else:
                self._tally.stray += 1
        elif kind != packets.PINGRESP:
            raise Malformed(f"a packet 0x{packet.first:02X} that nobody asked for")

    def moved(self) -> None:
        """There may be room, or there is no line any more."""
        if self._line.ended:
            self._forsake()
        elif self._answers:
            self._send_answers()
        self._moved.set()

    def _forsake(self) -> None:
        error = self._line.error or SessionLost("the connection has ended")
        waiting = [self.greeted, *self._subscribing.values(), *self._publishing]
        for answer in waiting:
            if not answer.done():
                answer.set_exception(SessionLost(str(error)))

    async def _or_lost(self, answer: asyncio.Future[int], among: set[asyncio.Future[int]]) -> int:
        among.add(answer)
        try:
            return await answer
        finally:
            among.discard(answer)

    def _greet(self, connack: decoding.ConnAck) -> None:
        told = connack.properties
        window = decoding.number_of(told, packets.RECEIVE_MAXIMUM, _ID_MAX)
        if not window:
            raise Malformed("a Receive Maximum of 0")
        self.window = min(self.window, window)
        packet_max = decoding.number_of(told, packets.MAXIMUM_PACKET_SIZE, packets.REMAINING_MAX)
        self.packet_max = min(self.packet_max, packet_max)
        # 0 would be: look for yourself. We do that as often as we meant to.
        keepalive_s = decoding.number_of(told, packets.SERVER_KEEP_ALIVE, 0)
        self.keepalive_s = keepalive_s or self.keepalive_s
        self.greeted.set_result(connack)

    def _told_to_go(self, disconnect: decoding.ConnAck) -> None:
        self.end_code = disconnect.code
        self.end_server = decoding.text_of(disconnect.properties, packets.SERVER_REFERENCE)
        self._line.end(f"the broker ended the connection: {explain(disconnect)}")


def explain(answer: decoding.ConnAck) -> str:
    """The reason in a CONNACK or DISCONNECT, in words."""
    return reasons.in_words(
        answer.code,
        decoding.text_of(answer.properties, packets.REASON_STRING),
        decoding.text_of(answer.properties, packets.SERVER_REFERENCE),
    )


def _ignore(_code: int) -> None:
    """The tally counts what is refused."""
