"""One connection to a broker: greeting and limits, subscribing, and what else comes.

Publishing is `publishing`; the bytes go over `line`; messages that come in go through `inbox`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import NoReturn

from clampgateway.mqttsession import decoding, packets, reasons
from clampgateway.mqttsession.inbox import Inbox
from clampgateway.mqttsession.line import Line
from clampgateway.mqttsession.publishing import ID_MAX, Publisher
from clampgateway.mqttsession.splitter import Malformed, Packet
from clampgateway.mqttsession.values import Broker, Message, SessionLost, Tally


class Connection(Publisher):
    """One connection, from its CONNECT to its end.

    Attributes:
        keepalive_s: The broker's Server Keep Alive, if it has one, else what was asked for.
        greeted: The CONNACK, when it comes.
        end_code: Reason of the broker's DISCONNECT; None if there was none.
        end_server: Where it says to go instead; "" if it does not.
    """

    def __init__(self, broker: Broker, line: Line, tally: Tally) -> None:
        super().__init__(broker, line, tally)
        self.keepalive_s = broker.keepalive_s
        self.greeted: asyncio.Future[decoding.ConnAck] = asyncio.get_running_loop().create_future()
        self.end_code: int | None = None
        self.end_server = ""
        self._inbox = Inbox(tally, self._acknowledge, v5=self._v5)
        line.attach(self)

    # --- subscribing ----------------------------------------------------------------------------

    async def subscribe(
        self, filters: Sequence[str], on_message: Callable[[Message], None]
    ) -> list[int]:
        """Subscribes at QoS 1. Returns the broker's code for each filter: refused from REFUSED on.

        `on_message` is called in a turn of the loop of its own, before the message is
        acknowledged; what it raises ends the session's `run`. Raises SessionLost.
        """
        if self._line.ended:
            self._fail(f"subscribing to {len(filters)} topics")
        self._inbox.add(filters, on_message)
        packet_id = self._last_id = self._free_id()
        answer: asyncio.Future[list[int]] = asyncio.get_running_loop().create_future()
        self._reserved[packet_id] = answer
        try:
            self._line.write(packets.subscribe(packet_id, filters, v5=self._v5))
            codes = await answer
        finally:
            self._reserved.pop(packet_id, None)
        if len(codes) != len(filters):
            self._line.end(f"{len(codes)} answers for {len(filters)} topics", reasons.MALFORMED)
            self._fail("subscribing")
        return codes

    async def deliver(self) -> NoReturn:
        """Gives messages to their handlers; raises what they raise."""
        await self._inbox.deliver()

    def _acknowledge(self, packet_id: int, code: int) -> None:
        if not self._line.ended:
            self._line.write(packets.puback(packet_id, code, v5=self._v5))

    # --- what comes over the line ---------------------------------------------------------------

    def arrived(self, packet: Packet) -> None:
        """A packet has come that is no short PUBACK. Raises Malformed."""
        kind = packet.first & 0xF0
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
            self._subscribed(*decoding.suback(packet, v5=self._v5))
        elif kind != packets.PINGRESP:
            raise Malformed(f"a packet 0x{packet.first:02X} that nobody asked for")

    def _subscribed(self, packet_id: int, codes: list[int]) -> None:
        answer = self._reserved.get(packet_id)
        if answer is not None and not answer.done():
            answer.set_result(codes)
        else:
            self._tally.stray += 1

    def _forsake(self) -> None:
        if not self.greeted.done():
            self.greeted.set_exception(SessionLost(str(self._line.error)))
        super()._forsake()

    def _greet(self, connack: decoding.ConnAck) -> None:
        told = connack.properties
        window = decoding.number_of(told, packets.RECEIVE_MAXIMUM, ID_MAX)
        packet_max = decoding.number_of(told, packets.MAXIMUM_PACKET_SIZE, packets.REMAINING_MAX)
        if not window or not packet_max:
            raise Malformed("a Receive Maximum or Maximum Packet Size of 0")
        self.window = min(self.window, window)
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
