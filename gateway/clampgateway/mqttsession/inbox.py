"""Messages that come: what is too large or too much, who is given them, when they are answered.

A message at QoS 1 is acknowledged after its handler has returned. How many may wait is bounded:
told to the broker as Receive Maximum with MQTT 5, and enforced here for those who do not care.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Sequence
from typing import NoReturn

from clampgateway.mqttsession import decoding, packets, reasons
from clampgateway.mqttsession.splitter import Packet
from clampgateway.mqttsession.values import Message, Tally

_log = logging.getLogger(__name__)

Handler = Callable[[Message], None]

# Kept of a payload. What is larger comes cut, so that its sender can be told.
PAYLOAD_MAX = 4096
# Bytes of topic, response topic and correlation data together; a message above is thrown away.
_NAMES_MAX = 4096
# Told to the broker, which then sends nothing larger (MQTT 5).
PACKET_MAX = 65_536
WAITING_MAX = 16


class Inbox:
    """Subscriptions of one connection and the messages that came for them.

    Args:
        acknowledge: Sends a PUBACK of a packet id with a reason code.
    """

    def __init__(self, tally: Tally, acknowledge: Callable[[int, int], None], *, v5: bool) -> None:
        self._tally = tally
        self._acknowledge = acknowledge
        self._v5 = v5
        self._handlers: list[tuple[list[list[str]], Handler]] = []
        self._waiting: deque[tuple[int, Message]] = deque()
        self._came = asyncio.Event()
        self._complained = False

    @property
    def waiting(self) -> int:
        """Messages that came and were not given to their handler yet."""
        return len(self._waiting)

    def add(self, filters: Sequence[str], handler: Handler) -> None:
        """What comes for one of these filters goes to `handler`; the first that fits gets it."""
        self._handlers.append(([each.split("/") for each in filters], handler))

    def take(self, packet: Packet) -> None:
        """A PUBLISH has come. Raises Malformed."""
        publish = decoding.publish(packet, v5=self._v5)
        message = _message(publish)
        if message is None:
            self._tally.oversize += 1
            self._refuse(publish, reasons.TOO_LARGE)
            return
        if len(self._waiting) >= WAITING_MAX:
            self._tally.overrun += 1
            self._refuse(publish, reasons.QUOTA)
            return
        self._tally.oversize += message.cut > 0
        self._waiting.append((publish.packet_id, message))
        self._came.set()

    async def deliver(self) -> NoReturn:
        """Gives messages to their handlers, one in a turn of the loop; raises what they raise."""
        while True:
            while self._waiting:
                packet_id, message = self._waiting.popleft()
                self._give(message)
                if packet_id:
                    self._acknowledge(packet_id, 0)
                await asyncio.sleep(0)
            self._came.clear()
            await self._came.wait()

    def _give(self, message: Message) -> None:
        levels = message.topic.split("/")
        for filters, handler in self._handlers:
            if any(fits(each, levels) for each in filters):
                self._tally.received += 1
                handler(message)
                return
        self._tally.stray += 1

    def _refuse(self, publish: decoding.Publish, code: int) -> None:
        if not self._complained:
            # Once a connection: whoever sends too much shall not fill the log as well.
            self._complained = True
            _log.warning(
                "a message was thrown away, more are counted: topic=%r bytes=%d reason=0x%02X",
                publish.topic[:100],
                len(publish.payload) + publish.cut,
                code,
            )
        if publish.packet_id:
            self._acknowledge(publish.packet_id, code)


def fits(pattern: Sequence[str], levels: Sequence[str]) -> bool:
    """Whether a topic fits a filter, both split at `/` (MQTT 5, 4.7)."""
    if levels[0].startswith("$") and pattern[0] in ("+", "#"):
        return False
    for place, level in enumerate(pattern):
        if level == "#":
            return True
        if place >= len(levels) or level not in ("+", levels[place]):
            return False
    return len(pattern) == len(levels)


def _message(publish: decoding.Publish) -> Message | None:
    """What a handler gets to see; None if only the payload could be cut, and that is not it."""
    response: str | None = decoding.text_of(publish.properties, packets.RESPONSE_TOPIC)
    if not response or "+" in response or "#" in response:
        response = None  # nobody may answer to a filter
    correlation = publish.properties.get(packets.CORRELATION)
    if not isinstance(correlation, bytes):
        correlation = None
    names = len(publish.topic) + len(response or "") + len(correlation or b"")
    if names > _NAMES_MAX or (publish.cut and not publish.payload):
        return None
    size = len(publish.payload) + publish.cut
    payload = publish.payload[:PAYLOAD_MAX]
    return Message(
        publish.topic,
        payload,
        publish.retain,
        publish.duplicate,
        response,
        correlation,
        size - len(payload),
    )
