"""One link to one device: who speaks, what is ingested, what is said back.

Sans-IO: bytes in by `receive`, bytes out by `poll`, items out by `take_items`, commits in by
`committed`; time comes as an argument, in us of the gateway's monotonic clock. Owns the session's
states; items are `intake.py`, the order of sending `outbox.py`, time `clocksync`, and who may
hold which device id `links.py`.

waiting (nobody said Hello) -> accepted or refused -> the same again at every further Hello.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from clampgateway.clocksync import ClockSync
from clampgateway.devices import Device
from clampgateway.link import greeting
from clampgateway.link.acks import AckQueue
from clampgateway.link.commands import UNAWAITED, Answer, Commands, LinkError, encode
from clampgateway.link.describing import Describing
from clampgateway.link.host import Host
from clampgateway.link.intake import Intake
from clampgateway.link.outbox import Outbox
from clampgateway.link.text import DeviceText
from clampgateway.model import EVENT, GAP, RECORD, Identity, Item
from clampwire import framing, messages
from clampwire.codec import Codec, UnknownMessage, WireError

_log = logging.getLogger(__name__)

OFFLINE_US = 10_000_000
# Polls further apart than this mean that we slept, not the device.
ASLEEP_US = 2_000_000
ASK_US = 1_000_000
# Asked this often, then rarely: frames from us keep a device without `hello` from saying Hello.
ASKS_MAX = 3
ASK_RARELY_US = 20_000_000
STATS_US = 1_000_000
ROOM_BYTES = 1024
_ITEM_KINDS = frozenset((RECORD, EVENT, GAP))
_CODEC = Codec()


class LinkSession:
    """The gateway's side of one link. `source` names the port or address it runs over."""

    def __init__(self, host: Host, source: str, now_us: int) -> None:
        self._host = host
        self.source = source
        self.state = "waiting"
        self.reason = ""
        self.device = ""
        self.online = False
        self.closed = False
        self.inflight = 0
        self.clock = ClockSync(host.utc_ms, host.era)
        self._intake = Intake(self.clock, host.descriptions)
        self._acks = AckQueue()
        self._outbox = Outbox(self.clock, self._acks)
        self._commands = Commands(now_us // 1000)
        self._describing = Describing(host.descriptions)
        self._text = DeviceText(source)
        self._deframer = framing.Deframer(messages.PAYLOAD_MAX, self._on_text)
        self._nonce: int | None = None
        self._identity: Identity | None = None
        self._now_us = self._heard_us = self._polled_us = now_us
        self._asks = self._told_boot = 0
        self._ask_due_us = self._describe_due_us = self._stats_due_us = 0
        self._bytes_in = self._hellos = self._sessions = self._silences = 0
        self._unknown = self._unexpected = self._bad = 0

    # --- in -------------------------------------------------------------------------------------

    def receive(self, data: bytes, now_us: int) -> None:
        """Take bytes from the line. Never raises for what is in them; it is counted."""
        self._bytes_in += len(data)
        self._now_us = now_us
        payloads = self._deframer.feed(data)
        if not payloads:
            return
        self._heard_us = now_us
        self.clock.anchor(now_us)
        if self.state == "accepted" and not self.online:
            self._returned()
        intake = self._intake
        undescribed = intake.undescribed
        for payload in payloads:
            if payload[0] not in _ITEM_KINDS:
                self._take_message(payload, now_us)
            elif self.state == "accepted":
                intake.take(payload)
            else:
                self._unexpected += 1
        if intake.undescribed > undescribed and now_us >= self._describe_due_us:
            self._describe_due_us = now_us + ASK_US
            self._tell("describe")
        if intake.highest_boot > self._told_boot:
            self._took_boot(intake.highest_boot)

    def _on_text(self, text: str) -> None:
        self._text.print(self.device, text, self._now_us)

    def _take_message(self, payload: bytes, now_us: int) -> None:
        try:
            name, message = _CODEC.decode(payload)
        except UnknownMessage:
            self._unknown += 1
            return
        except WireError:
            self._bad += 1
            return
        if name == "Hello":
            self._took_hello(message, now_us)
        elif name == "Time":
            self._took_time(message, now_us)
        elif name == "Answer":
            self._commands.answered(message.id, message.status, message.body)
        elif self.state == "accepted" and name == "Describe":
            description = self._describing.take(self.device, payload, message)
            if description is not None:
                self._intake.describe(description)
                self._entry.description = description
                self._changed("description")
        elif self.state == "accepted" and name == "Status":
            self._entry.status = message._asdict()
        else:
            self._unexpected += 1

    def _took_time(self, time: Any, now_us: int) -> None:  # noqa: ANN401 - from the table
        contradicted = self.clock.contradicted
        self.clock.answered(time.id, time.gateway_us, time.device_rx_us, time.device_tx_us, now_us)
        if self.clock.contradicted > contradicted:
            _log.warning(
                "the clock that was kept of this power-up does not fit, it begins anew"
                " device=%s source=%s: UTC was set, or the boot number is of another power-up",
                self.device,
                self.source,
            )
        self._intake.settle(now_us)

    def _took_hello(self, hello: Any, now_us: int) -> None:  # noqa: ANN401 - from the table
        self._hellos += 1
        if (hello.device, hello.nonce) == (self.device, self._nonce) and self.state == "accepted":
            self._welcome()  # the first answer was lost
            return
        if hello.device != self.device:
            self.leave()
        self._intake.release()
        self._keep_clock()
        self._nonce = hello.nonce
        problem = greeting.id_problem(hello.device) or self._host.room_problem(hello.device)
        if problem:
            self._refuse(problem)
            return
        self.device = hello.device
        self._identity = self._entry.identity = greeting.identity_of(hello)
        self._acks.clear()
        self._describing.clear()
        self.clock.reset()
        problem = greeting.version_problem(hello)
        if problem:
            self._host.release(self)
        else:
            problem = self._host.claim(self)
        if problem:
            self._refuse(problem)
        else:
            self._accept(hello, now_us)

    def _accept(self, hello: Any, now_us: int) -> None:  # noqa: ANN401
        self.state, self.reason = "accepted", ""
        self._sessions += 1
        self._asks = 0
        fits = self._host.fits(self.device)
        self._intake.begin(self.device, hello.boot, now_us, fits)
        self.clock.resume(fits.get(hello.boot))
        self._told_boot = self._intake.highest_boot
        known = self._host.descriptions.get(self.device, hello.describe_crc)
        if known is not None:
            self._intake.describe(known)
            self._entry.description = known
        self._entry.refused, self._entry.source = "", self.source
        self._welcome()
        _log.info(
            "device said Hello device=%s source=%s name=%r firmware=%s boot=%d reset=%s",
            self.device,
            self.source,
            hello.name,
            hello.firmware,
            hello.boot,
            messages.name_of(messages.RESET_CAUSES, hello.reset_cause),
        )
        self._changed("identity")
        if known is not None:
            self._changed("description")
        self._set_online(True)

    def _refuse(self, reason: str) -> None:
        self._welcome(reason)
        self._refused(reason)

    def evict(self, reason: str) -> None:
        """Stop serving a device that was accepted: another link has the same id."""
        self._intake.release()
        self._acks.clear()
        # A device that was welcomed hears no refusal; asked for its Hello it will.
        self._tell("hello")
        self._refused(reason)

    def _refused(self, reason: str) -> None:
        news = (self.state, self.reason) != ("refused", reason)
        self.state, self.reason = "refused", reason
        if news:
            _log.warning(
                "device is refused device=%s source=%s: %s", self.device, self.source, reason
            )
        if self.device:
            self._entry.refused, self._entry.source = reason, self.source
            self._set_online(False)
            if news:
                self._changed("refused")

    def _welcome(self, reason: str = "") -> None:
        assert self._nonce is not None
        highest = 0 if reason else self._host.highest_boot(self.device)
        self._outbox.put(greeting.welcome(self._nonce, highest, self._host.gateway_id, reason))

    def _took_boot(self, boot: int) -> None:
        """The first item of a power-up names the boot number that the device settled on."""
        self._told_boot = boot
        self._host.saw_boot(self.device, boot)
        if self._identity is not None and boot > self._identity.boot:
            self._identity = self._entry.identity = replace(self._identity, boot=boot)
            self._changed("identity")

    # --- out ------------------------------------------------------------------------------------

    def take_items(self) -> list[Item]:
        """Items to submit, once. Descriptions they need come first: `take_descriptions`."""
        items = self._intake.take_items()
        self.inflight += len(items)
        return items

    def take_descriptions(self) -> list[tuple[str, int, tuple[bytes, ...]]]:
        """(device, crc, Describe payloads) to store before the items, once."""
        return self._describing.take_new()

    def committed(self, items: list[Item]) -> None:
        """These items, taken here before, are on disk: they may be acknowledged."""
        self.inflight -= len(items)
        if self.state == "accepted":
            self._acks.add(item for item in items if item.device == self.device)

    def poll(self, now_us: int, room: int = ROOM_BYTES) -> bytes:
        """Do what time demands; returns at most `room` bytes to write now."""
        if now_us - self._polled_us > ASLEEP_US:
            self.excuse(now_us)
        self._polled_us = self._now_us = now_us
        if self.online and not self.live:
            self._silences += 1
            _log.warning("device is silent device=%s source=%s", self.device, self.source)
            self._set_online(False)
        self._intake.settle(now_us)
        self._commands.expire(now_us)
        # Never before a frame was heard: the port may be another machine's, and to a CNC control
        # our flag byte may mean "start".
        if self.state == "waiting" and self._deframer.frames and now_us >= self._ask_due_us:
            self._asks += 1
            self._ask_due_us = now_us + (ASK_US if self._asks < ASKS_MAX else ASK_RARELY_US)
            self._tell("hello")
        if self.device and now_us >= self._stats_due_us:
            self._stats_due_us = now_us + STATS_US
            self._entry.link = self.stats()
        return self._outbox.take(now_us, room, self.state != "waiting")

    @property
    def wants_to_write(self) -> bool:
        """Whether `poll` has something to send besides what time brings."""
        return bool(self._outbox)

    def command(
        self,
        name: str,
        args: Mapping[str, object],
        on_answer: Callable[[Answer], None],
        now_us: int,
    ) -> int:
        """Send a command; returns its id. `on_answer` is called exactly once.

        Also for a refused device: one of another wire version can be identified and updated.
        Raises LinkError if nobody can be asked or the command does not fit a frame.
        """
        if not self.device:
            raise LinkError(f"{self.source}: no device has said Hello here")
        ident, payload = self._commands.ask(self.device, name, args, on_answer, now_us)
        self._outbox.put(payload)
        return ident

    def _tell(self, name: str) -> None:
        self._outbox.put(encode(self.device, UNAWAITED, name, {}))

    # --- presence -------------------------------------------------------------------------------

    @property
    def live(self) -> bool:
        """Whether somebody spoke here lately."""
        return not self.closed and self._now_us - self._heard_us <= OFFLINE_US

    @property
    def boot(self) -> int:
        """The power-up that speaks here, as far as it is known; 0 while nobody has said Hello."""
        return self._identity.boot if self._identity is not None else 0

    @property
    def heard_us(self) -> int:
        """When a frame was heard last, or `excuse` called."""
        return self._heard_us

    def excuse(self, now_us: int) -> None:
        """We did not listen until now: the silence before is no fault of the device."""
        self._heard_us = now_us

    def close(self, now_us: int) -> None:
        """The link is gone. Items taken in before may still be submitted."""
        self._now_us = now_us
        self.closed = True
        if self.device:
            self._entry.link = self.stats()
        self.leave()
        self._commands.give_up()
        self._outbox.clear()

    def leave(self) -> None:
        """Nothing more from the device that was here; somebody may say Hello."""
        if self.device:
            self._set_online(False)
        self._host.release(self)
        self._intake.release()
        self._keep_clock()
        self._acks.clear()
        self.state, self.device, self._identity = "waiting", "", None

    def note_clock(self) -> None:
        """What we know of this power-up's clock is there for its items when the next has begun."""
        fit = self.clock.fit
        if self.device and self._intake.own and fit is not None:
            self._host.fits(self.device).keep(self._intake.boot, fit)

    def _keep_clock(self) -> None:
        self.note_clock()
        self._intake.own = False

    def _returned(self) -> None:
        reason = self._host.claim(self)
        if reason:
            self.evict(reason)
        else:
            self._set_online(True)

    def _set_online(self, online: bool) -> None:
        if self.online != online:
            self.online = self._entry.online = online
            self._changed("online" if online else "offline")

    @property
    def _entry(self) -> Device:
        return self._host.devices.at(self.device)

    def _changed(self, what: str) -> None:
        self._host.devices.changed(self._entry, what)

    def stats(self) -> dict[str, float]:
        """Counters, and the state of the clock; units in the names."""
        return {
            "frames": self._deframer.frames,
            "errors": self._deframer.errors,
            "bytes_in": self._bytes_in,
            "inflight": self.inflight,
            "unknown": self._unknown,
            "unexpected": self._unexpected,
            "bad": self._bad,
            "bad_descriptions": self._describing.bad,
            "hellos": self._hellos,
            "sessions": self._sessions,
            "silences": self._silences,
            **self._intake.stats(),
            **self._outbox.stats(),
            **self._text.stats(),
            **self._commands.stats(),
            **self.clock.stats(),
        }
