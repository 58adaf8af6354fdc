"""The device that a meter becomes: the far end of a link, in this process.

Owns its power-up and its side of a session. It speaks the wire of any other device (Hello,
Describe, Record, Event, Gap, Time, Status) through the same stream and session, so everything
behind them holds for a meter, too. What it says is `meter.py`, what it keeps `spool.py`.

A start of the gateway is its power-up. What the one before had numbered and not committed died
with that process: the first item of a power-up is a Gap `power_cut` that names all of the earlier
ones that did not come, of which there are none after an orderly stop.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Sequence
from typing import Any, NamedTuple

from clampgateway.clocksync import Clocks
from clampgateway.committer import Committer
from clampgateway.link import Links
from clampgateway.sources.modbus_meter.spool import SPOOL_FULL, Spool
from clampgateway.sources.modbus_meter.wire import Wire
from clampgateway.stream import DeviceStream
from clampwire import framing, messages, values
from clampwire.codec import Codec
from clampwire.messages import NO_CHANNEL, code_of
from clampwire.version import __version__

_log = logging.getLogger(__name__)

HELLO_S = 5.0
STATUS_S = 10.0
TEXT_BYTES_MAX = 200
EARLY_MAX = 64
STARTED = code_of(messages.EVENT_KINDS, "started")
POWER_CUT = code_of(messages.GAP_REASONS, "power_cut")
UNKNOWN_COMMAND = code_of(messages.ANSWER_STATUS, "unknown_command")
OK = code_of(messages.ANSWER_STATUS, "ok")
RESET_UNKNOWN = code_of(messages.RESET_CAUSES, "unknown")
_CODEC = Codec()


class About(NamedTuple):
    """What the device says of itself in Hello; `source` names its line and unit."""

    device: str
    name: str
    board: str
    source: str


class Counts(NamedTuple):
    """For Status: periods that were skipped, readings and parts of them that failed, faults."""

    skipped: int = 0
    failed: int = 0
    faults: int = 0


class MeterDevice:
    """One meter as a device. `describes`: its Describe payloads, all under `crc`."""

    def __init__(
        self,
        about: About,
        describes: Sequence[bytes],
        crc: int,
        links: Links,
        committer: Committer,
        clocks: Clocks,
    ) -> None:
        self._about = about
        self._describes = describes
        self._crc = crc
        self._links = links
        self._committer = committer
        self._clocks = clocks
        self._zero_us = clocks.mono_us()
        self.boot = 0
        self.counts = Counts()
        self.paused = False
        self._began = False
        self._welcome = False
        self.refused = ""
        self._stream: DeviceStream | None = None
        self._wire: Wire | None = None
        self._deframer = framing.Deframer(messages.PAYLOAD_MAX)
        self._nonce = 0
        self._spool = Spool()
        # What is told before the power-up has its number.
        self._early: list[tuple[str, int, tuple[object, ...]]] = []
        self._early_lost = 0
        self._out = bytearray()
        self._pumps = False
        self._rx = self._tx = 0
        self._due_us = self._status_due_us = 0

    @property
    def now_us(self) -> int:
        """Time since the power-up."""
        return self._clocks.mono_us() - self._zero_us

    @property
    def now_ms(self) -> int:
        return self.now_us // 1000

    # --- the link -------------------------------------------------------------------------------

    @property
    def connected(self) -> bool:
        """Whether the link is open: the device is online, or about to be."""
        return self._stream is not None

    @property
    def kept(self) -> int:
        """Items that nobody has acknowledged."""
        return len(self._spool)

    def connect(self) -> None:
        """Open the link and say Hello; does nothing if it is open."""
        if self._stream is not None:
            return
        if not self.boot:
            # That of this power-up; the Welcome may still raise it.
            self.boot = self._links.highest_boot(self._about.device) + 1
        self.paused = self._welcome = False
        self._deframer = framing.Deframer(messages.PAYLOAD_MAX)
        self._out.clear()
        self._spool.resend()
        self._nonce = secrets.randbits(32)
        self._wire = Wire(self)
        self._stream = DeviceStream(
            self._links, self._committer, self._clocks, self._about.source, _ignore
        )
        self._stream.connection_made(self._wire)
        self._hello()

    def hang_up(self) -> None:
        """Close the link: the device is offline. What was given to it is handed over."""
        stream, wire = self._stream, self._wire
        if stream is None or wire is None:
            return
        self._deliver()
        wire.closed = True
        self._stream = self._wire = None
        self._welcome = False
        stream.connection_lost(None)

    def tend(self) -> None:
        """What time brings: Hello again while there was no Welcome, and Status."""
        if self._stream is None or self.paused:
            return
        now_us = self.now_us
        if not self._welcome:
            if now_us >= self._due_us:
                self._hello()
        elif now_us >= self._status_due_us:
            self._status_due_us = now_us + int(1e6 * STATUS_S)
            self._send(self._status())

    def _hello(self) -> None:
        self._due_us = self.now_us + int(1e6 * HELLO_S)
        about = self._about
        self._send(
            _CODEC.encode(
                "Hello", messages.WIRE_MAJOR, messages.WIRE_MINOR, _CODEC.table_crc, about.device,
                self.boot, self._nonce, about.name, about.board, __version__, "gateway",
                self._crc, self._spool.oldest_seq, self._spool.next_seq, RESET_UNKNOWN,
            )
        )  # fmt: skip

    def heard(self, data: bytes) -> None:
        """Frames of the gateway."""
        for payload in self._deframer.feed(data):
            self._rx += 1
            name, message = _CODEC.decode(payload)
            if name == "Welcome":
                self._took_welcome(message)
            elif name == "Ack":
                for boot, first, last in message.ranges:
                    self._took_ack(boot, first, last)
            elif name == "Time" and not self.paused:
                now_us = self.now_us
                self._send(
                    _CODEC.encode("Time", message.id, message.gateway_us, 0, now_us, self.now_us)
                )
            elif name == "Command":
                self._took_command(message.id, message.name)

    def _took_welcome(self, welcome: Any) -> None:  # noqa: ANN401 - from the table
        if welcome.nonce != self._nonce:
            return
        if not welcome.accepted:
            if welcome.reason != self.refused:
                _log.error("meter is refused device=%s: %s", self._about.device, welcome.reason)
            self.refused, self._welcome = welcome.reason or "refused", False
            return
        if not self._began:
            self._begin(welcome.highest_boot)
        self.refused, self._welcome = "", True
        self._describe()
        self._status_due_us = self.now_us
        # A session begins: what was sent in the one before may not have been taken.
        self._spool.resend()
        self.send_items()

    def _describe(self) -> None:
        for payload in self._describes:
            self._send(payload)

    def _begin(self, highest_boot: int) -> None:
        """The boot number is final from now on."""
        self._began = True
        self.boot = max(self.boot, highest_boot + 1)
        now_ms = self.now_ms
        if highest_boot:
            span = (0, messages.TO_THE_END, 0, 0, 0, highest_boot)
            self._keep("Gap", now_ms, POWER_CUT, NO_CHANNEL, *span)
        self._keep("Event", now_ms, NO_CHANNEL, STARTED, RESET_UNKNOWN, __version__)
        early, self._early = self._early, []
        for name, at_ms, fields in early:
            self._spool.keep(name, self.boot, at_ms, *fields)
        if self._early_lost:
            # Nobody was there to take them: two devices under one id, as a rule.
            from_ms = early[-1][1]
            self._keep(
                "Gap", now_ms, SPOOL_FULL, NO_CHANNEL, 1, 0, from_ms, now_ms, self._early_lost
            )

    def _took_ack(self, boot: int, first: int, last: int) -> None:
        if boot == self.boot:
            self._spool.forget(first, last)

    def _took_command(self, ident: int, name: str) -> None:
        if name == "hello":
            self._hello()
        elif name == "describe":
            # Asked for when items could not be read without: they were not taken.
            self._describe()
            self._spool.resend()
            self.send_items()
        if ident:
            known = name in ("hello", "describe")
            body = b"{}" if known else b'{"error":"a meter that is read by Modbus takes none"}'
            self._send(_CODEC.encode("Answer", ident, OK if known else UNKNOWN_COMMAND, body))

    def _status(self) -> bytes:
        counts, spool = self.counts, self._spool
        return _CODEC.encode(
            "Status", self.now_us // 1_000_000, spool.next_seq, spool.oldest_seq, len(spool),
            spool.dropped, counts.skipped, counts.failed, counts.faults, self._rx,
            self._deframer.errors, self._tx, 0, 0, 0, float("nan"),
        )  # fmt: skip

    # --- items ----------------------------------------------------------------------------------

    def record(
        self, end_ms: int, windows: int, layout: int, flags: Sequence[int], data: bytes
    ) -> None:
        """A Record whose interval ended at `end_ms`."""
        self._keep("Record", end_ms, windows, layout, values.pack_flags(list(flags)), data)

    def event(self, kind: int, channel: int, text: str) -> None:
        """An Event, now."""
        text = text.encode()[:TEXT_BYTES_MAX].decode("utf-8", "ignore")
        self._keep("Event", self.now_ms, channel, kind, 0, text)

    def gap(self, reason: int, channel: int, from_ms: int, to_ms: int, samples: int) -> None:
        """A Gap of readings, not of items: first is above last."""
        self._keep("Gap", self.now_ms, reason, channel, 1, 0, from_ms, to_ms, samples)

    def _keep(self, name: str, *fields: object) -> None:
        now_ms = self.now_ms
        if self._began:
            self._spool.keep(name, self.boot, now_ms, *fields)
            self.send_items()
        elif len(self._early) < EARLY_MAX:
            self._early.append((name, now_ms, fields))
        else:
            self._early_lost += 1

    def send_items(self) -> None:
        """Those that were not sent over this link, if the gateway takes them now."""
        if self._welcome and not self.paused:
            for payload in self._spool.unsent():
                self._send(payload)

    # --- bytes ----------------------------------------------------------------------------------

    def _send(self, payload: bytes) -> None:
        self._tx += 1
        self._out += framing.frame(payload)
        self.pump()

    def pump(self) -> None:
        """Hand what there is to the stream, in a turn of its own: it may be calling us."""
        if not self._pumps and self._out:
            self._pumps = True
            asyncio.get_running_loop().call_soon(self._pump)

    def _pump(self) -> None:
        self._pumps = False
        if not self.paused:
            self._deliver()

    def _deliver(self) -> None:
        if self._stream is not None and self._out:
            data = bytes(self._out)
            self._out.clear()
            try:
                self._stream.data_received(data)
            except MemoryError:
                # The link ends, as of any device; what it did not take is sent over the next.
                self._committer.no_memory()
                self.hang_up()

    def stats(self) -> dict[str, object]:
        return {
            "boot": self.boot,
            "next_seq": self._spool.next_seq,
            "kept": self.kept,
            "dropped": self._spool.dropped + self._early_lost,
            "refused": self.refused,
        }


def _ignore(_error: Exception | None) -> None:
    """The link ends where we end it."""
