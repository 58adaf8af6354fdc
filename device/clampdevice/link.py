"""The device's side of the link: what to say next, and what to do with what was heard.

Pure and synchronous: bytes in by `receive`, one frame at a time out by `next_frame`, time as an
argument. Order of sending: answers, Hello, Describe, the newest item (live lane), losses to tell,
older items (history lane: first those in flash, then those in RAM), Status. An item stays in the
spool, or the layer below it, until its Ack.
"""

import binascii
import json

from clampdevice.commands import FAILED
from clampwire import framing, messages
from clampwire.codec import UnknownMessage, WireError

# Frames in flight without an Ack; the gateway commits at least once a second.
WINDOW = 16
RESEND_MS = 3000
HELLO_MS = 1000
_REFUSED_MS = 5000
# The gateway sends Time every 5 s; three missed ones mean that it is gone.
SILENCE_MS = 15000
# After a look that found nothing to say only news bring another before this: a look at all lanes
# takes a chip a millisecond and more.
LOOK_MS = 200
_STATUS_MS = 10000
_ANSWERS_MAX = 4
_OUT_PAYLOAD_MAX = 512
# What an answer's body may take of the frame's buffer, escapes included: the head of the message
# and the CRC, all escaped, and two flags take 26 of 1,034 bytes.
_BODY_MAX = 1008
_GAP_BYTES = 42


class Identity:
    """What Hello says: all text and numbers that name this device and its firmware."""

    def __init__(
        self, device: str, name: str, board: str, firmware: str, runtime: str, cause: int
    ) -> None:
        self.device = device
        self.name = name
        self.board = board
        self.firmware = firmware
        self.runtime = runtime
        self.reset_cause = cause


class Link:
    """One session after another with whatever gateway is at the other end.

    `describes` are the fields of Describe from `key` on, one tuple a channel. `owner` answers for
    the device: `choose_boot(highest)` is asked once a power-up, with the gateway's highest boot,
    for the boot number to use; `confirmed()` is told when that number is final, `told(payload)`
    each Gap that is made after that; `status(link)` gives a Status payload. `stuffer` is
    `framing.stuff` or its faster kernel. `below` is the layer below the spool, see `join`.
    """

    def __init__(
        self, codec, spool, clock, identity, describes, commands, owner, nonce: int, stuffer
    ) -> None:
        self._codec = codec
        self._spool = spool
        self.below = None
        self._clock = clock
        self._identity = identity
        self._commands = commands
        self._owner = owner
        self._nonce = nonce & 0xFFFFFFFF
        self._deframer = framing.Deframer(messages.PAYLOAD_MAX_TO_DEVICE)
        self._describes = describes
        self.describe_crc = describe_crc(codec, describes)
        self._out = bytearray(2 * (_OUT_PAYLOAD_MAX + 4) + 2)
        self._stuffer = stuffer
        self.boot = 0
        self.confirmed = False
        self.ready = False
        self.refusal = ""
        self.tx_frames = 0
        self.rx_unknown = 0
        self.rx_bad = 0
        self.rx_refused = 0
        self.answers_dropped = 0
        self._answers: list = []
        self._describe_next = len(describes)
        self._live: list[int] = []
        self._hello_due_ms = 0
        self._look_ms = 0
        self._heard_ms = 0
        self._status_due_ms = 0

    def join(self, history) -> None:
        """Send what is in the layer below the spool, too: a `history.History`, None without."""
        self.below = history

    @property
    def rx_frames(self) -> int:
        return self._deframer.frames

    @property
    def rx_errors(self) -> int:
        return self._deframer.errors + self.rx_bad

    def receive(self, data: bytes) -> None:
        """Take bytes from the line; anything wrong in them is counted and skipped."""
        self._look_ms = 0
        for payload in self._deframer.feed(data):
            try:
                name, message = self._codec.decode(payload)
            except UnknownMessage:
                self.rx_unknown += 1
                continue
            except WireError:
                self.rx_bad += 1
                continue
            self._heard_ms = now_ms = self._clock.now_ms()
            if name == "Ack" and self.ready:
                for boot, first, last in message.ranges:
                    self._spool.ack(boot, first, last)
                    if self.below is not None:
                        self.below.ack(boot, first, last)
            elif name == "Time":
                self._took_time(message, self._clock.now_us())
            elif name == "Welcome":
                self._took_welcome(message, now_ms)
            elif name == "Command":
                self._took_command(message)
            else:
                self.rx_refused += 1

    def _took_time(self, message, now_us: int) -> None:
        self._clock.learn_utc(message.utc_ms)
        self._answer((message.id, message.gateway_us, message.utc_ms, now_us))

    def _took_welcome(self, message, now_ms: int) -> None:
        if message.nonce != self._nonce or self.ready:
            return  # meant for another session, or a second answer
        if not message.accepted or message.wire_major != messages.WIRE_MAJOR:
            self.refusal = message.reason or "the gateway speaks wire " + str(message.wire_major)
            self._hello_due_ms = now_ms + _REFUSED_MS
            return
        self.refusal = ""
        if not self.confirmed:
            boot = self._owner.choose_boot(message.highest_boot)
            if boot != self.boot:
                self._spool.rebase(boot)
                if self.below is not None:
                    self.below.rename(boot)
                self.boot = boot
            self.confirmed = True
            self._owner.confirmed()
        self._spool.new_session()
        if self.below is not None:
            self.below.new_session()
        self._live = []
        self._describe_next = 0
        self._status_due_ms = now_ms
        self.ready = True

    def _took_command(self, message) -> None:
        if message.name == "describe" and self.ready:
            self._describe_next = 0
        elif message.name == "hello":
            # A gateway that restarted hears us without knowing us.
            self._lost_gateway(self._clock.now_ms())
        status, body = self._commands.run(message.name, message.args)
        body = json.dumps(body, separators=(",", ":")).encode()
        size = len(body) + body.count(b"}") + body.count(b"~")
        if size > _BODY_MAX:
            status = FAILED
            body = b'{"error": "the answer takes %d bytes, at most %d"}' % (size, _BODY_MAX)
        self._answer(self._codec.encode("Answer", message.id, status, body))

    def _answer(self, answer) -> None:
        """Queue an answer: a payload, or the parts of a Time that gets its last tick when sent."""
        self._answers.append(answer)
        if len(self._answers) > _ANSWERS_MAX:
            self._answers.pop(0)
            self.answers_dropped += 1

    def made(self, seq: int) -> None:
        """A new item is in the spool: it goes out at once if the link is up."""
        if self.ready:
            self._look_ms = 0
            self._live.append(seq)

    def next_frame(self) -> memoryview | None:
        """The next frame to write as a memoryview, or None if there is nothing to say now.

        What only time brings (a repetition, a Status) comes up to 200 ms after it is due.
        """
        now_ms = self._clock.now_ms()
        if now_ms < self._look_ms and not self._spool.losses:
            return None
        frame = self._next(now_ms)
        if frame is None:
            self._look_ms = now_ms + LOOK_MS
        return frame

    def _next(self, now_ms: int) -> memoryview | None:
        if self.ready and now_ms - self._heard_ms > SILENCE_MS:
            self._lost_gateway(now_ms)
        if self._answers:
            answer = self._answers.pop(0)
            if isinstance(answer, tuple):
                ident, gateway_us, utc_ms, rx_us = answer
                answer = self._codec.encode(
                    "Time", ident, gateway_us, utc_ms, rx_us, self._clock.now_us()
                )
            return self._frame(answer)
        if not self.ready:
            if now_ms < self._hello_due_ms:
                return None
            self._hello_due_ms = now_ms + HELLO_MS
            return self._frame(self._hello())
        if self._describe_next < len(self._describes):
            index = self._describe_next
            self._describe_next += 1
            return self._frame(self._describe(index))
        return self._next_item(now_ms) or self._next_status(now_ms)

    def _next_item(self, now_ms: int) -> memoryview | None:
        spool = self._spool
        while self._live:
            seq = self._live.pop(0)
            # What does not fit the window twice over is left to the history lane.
            if spool.waits(seq) and spool.in_flight < 2 * WINDOW:
                return self._send_item(seq, now_ms)
        # A Gap must not cost the place of another item, which would have to be told in turn.
        if spool.losses and spool.has_room(_GAP_BYTES):
            return self._send_item(self.tell(spool.losses.pop(0), now_ms), now_ms)
        history = self.below
        if history is not None:
            payload = history.next(now_ms, RESEND_MS, WINDOW)
            if payload is not None:
                return self._frame(payload)
            if history.waiting:
                return None  # what the RAM holds is younger
        seq = spool.next_history(now_ms, RESEND_MS, WINDOW)
        return self._send_item(seq, now_ms) if seq >= 0 else None

    def tell(self, loss, now_ms: int) -> int:
        """Put a Gap for a loss into the spool; returns its number."""
        of_boot = () if loss.boot in (0, self.boot) else (loss.boot,)
        seq = self._spool.put(
            self._codec.encode(
                "Gap",
                self.boot,
                self._spool.next_seq,
                now_ms,
                loss.reason,
                loss.channel,
                loss.first,
                loss.last,
                loss.from_ms,
                loss.to_ms,
                loss.samples & 0xFFFFFFFF,
                *of_boot,
            )
        )
        if self.below is not None:
            self.below.tells(seq, loss)
        if self.confirmed:
            self._owner.told(self._spool.payload(seq))
        return seq

    def _send_item(self, seq: int, now_ms: int) -> memoryview:
        view = self._frame(self._spool.payload(seq))
        self._spool.mark_sent(seq, now_ms)
        return view

    def _next_status(self, now_ms: int) -> memoryview | None:
        if now_ms < self._status_due_ms:
            return None
        self._status_due_ms = now_ms + _STATUS_MS
        return self._frame(self._owner.status(self))

    def _hello(self) -> bytes:
        me = self._identity
        return self._codec.encode(
            "Hello",
            messages.WIRE_MAJOR,
            messages.WIRE_MINOR,
            self._codec.table_crc,
            me.device,
            self.boot,
            self._nonce,
            me.name,
            me.board,
            me.firmware,
            me.runtime,
            self.describe_crc,
            self._spool.oldest_seq,
            self._spool.next_seq,
            me.reset_cause,
        )

    def describe_again(self, describes: list) -> None:
        """What the channels say of themselves has changed; told before any item made from now on.

        Items made before keep their layout number, so the gateway reads them as they were meant.
        """
        self._describes = describes
        self.describe_crc = describe_crc(self._codec, describes)
        self._describe_next = self._look_ms = 0

    def describe_payloads(self) -> list[bytes]:
        """All Describe messages, in the order of their channels."""
        return [self._describe(index) for index in range(len(self._describes))]

    def _describe(self, index: int) -> bytes:
        crc = self.describe_crc
        head = (crc, layout_of(crc), len(self._describes), index)
        return self._codec.encode("Describe", *(head + tuple(self._describes[index])))

    def _lost_gateway(self, now_ms: int) -> None:
        self.ready = False
        self._live = []
        # Another nonce: a Welcome that is still on its way belongs to the session that ended.
        self._nonce = (self._nonce * 1664525 + 1013904223) & 0xFFFFFFFF
        self._hello_due_ms = now_ms

    def _frame(self, payload: bytes | memoryview) -> memoryview:
        self.tx_frames += 1
        size = framing.frame_into(payload, self._out, 0, self._stuffer)
        return memoryview(self._out)[:size]


def describe_crc(codec, describes) -> int:
    """CRC-32 over all Describe payloads of a device, with zero in place of this number."""
    crc = 0
    for index, fields in enumerate(describes):
        head = (0, 0, len(describes), index)
        crc = binascii.crc32(codec.encode("Describe", *(head + tuple(fields))), crc)
    return crc


def layout_of(crc: int) -> int:
    """The number that Records carry for the description they were made under."""
    return crc & 0xFF
