"""The firmware's own link and spool, driven by hand: a device whose time and bytes a test holds.

It owns a power-up counter that survives `power_cycle`, and the truth of what was made: `made` maps
(boot, seq) to the payload as the device keeps it. Nothing here sleeps or opens anything.
"""

from __future__ import annotations

from clampdevice.clock import Clock
from clampdevice.commands import Commands
from clampdevice.link import Identity, Link, layout_of
from clampdevice.spool import Spool
from clampwire import framing
from clampwire.codec import Codec
from clampwire.messages import EVENT_KINDS, NO_CHANNEL, code_of
from clampwire.values import pack_flags, pack_values

CURRENT = (
    "current1",
    "current",
    "A",
    "SCT-013-030",
    6400.0,
    30.0,
    0.02,
    1.0,
    "cal-7",
    (("rms", "A", ord("H"), 1, -3), ("peak", "A", ord("H"), 1, -2)),
)
LAYOUT = ((ord("H"), 1, -3), (ord("H"), 1, -2))


class DeviceModel:
    """One device. `now_us` is its time since power-up; whoever moves it decides its drift."""

    def __init__(
        self,
        device: str = "lathe",
        describes: tuple = (CURRENT,),
        spool_items: int = 1024,
        boots: int = 0,
    ) -> None:
        self.device = device
        self.describes = describes
        self.boots = boots
        self.made: dict[tuple[int, int], bytes] = {}
        self.lost: set[tuple[int, int]] = set()
        self.identified: list[dict] = []
        self._spool_items = spool_items
        self._codec = Codec()
        self._nonce = 0
        self.power_up()

    def power_up(self) -> None:
        """Start with an empty spool, a clock at zero and the next boot number."""
        self.now_us = 0
        self.boots += 1
        self._nonce += 1
        self.spool = Spool(64 * self._spool_items, self._spool_items)
        commands = Commands(
            (
                ("identify", lambda args: self.identified.append(args) or {}),
                ("describe", lambda args: {}),
                ("hello", lambda args: {}),
                ("time", lambda args: {"device_us": self.now_us}),
            )
        )
        self.link = Link(
            self._codec,
            self.spool,
            Clock(lambda: self.now_us),
            Identity(self.device, "Lathe 3", "sim", "0.1.0", "test", 1),
            self.describes,
            commands,
            self,
            self._nonce * 7919,
            framing.stuff,
        )
        self.link.boot = self.boots

    def power_cycle(self) -> None:
        """Cut the power: what was not acknowledged is gone."""
        for offset in range(len(self.spool)):
            payload = bytes(self.spool.payload((self.spool.oldest_seq + offset) & 0xFFFFFFFF))
            self.lost.add(_key_of(payload))
        self.power_up()

    # --- what the link asks of its owner --------------------------------------------------------

    def choose_boot(self, highest: int) -> int:
        self.boots = max(self.boots, highest + 1) if highest >= self.link.boot else self.boots
        return self.boots

    def confirmed(self) -> None:
        for offset in range(len(self.spool)):
            self._note(bytes(self.spool.payload(self.spool.oldest_seq + offset)))

    def told(self, payload: bytes) -> None:
        self._note(bytes(payload))

    def status(self, link: Link) -> bytes:
        numbers = (self.spool.next_seq, self.spool.oldest_seq, len(self.spool), 0, 0, 0, 0)
        counts = (link.rx_frames, link.rx_errors, link.tx_frames, self.spool.resent)
        return self._codec.encode(
            "Status", self.now_us // 1_000_000, *numbers, *counts, 100_000, 12, 31.5
        )

    # --- what a test makes it do ----------------------------------------------------------------

    def _note(self, payload: bytes) -> None:
        self.made[_key_of(payload)] = payload

    def _keep(self, name: str, *fields: object) -> None:
        payload = self._codec.encode(name, self.link.boot, self.spool.next_seq, *fields)
        if self.link.confirmed:
            self._note(payload)
        self.link.made(self.spool.put(payload))

    def record(self, rms_a: float, flags: int = 0, windows: int = 5) -> None:
        """Make a Record that ends now."""
        values = pack_values(LAYOUT, (rms_a, 1.5 * rms_a))
        layout = layout_of(self.link.describe_crc)
        self._keep("Record", self.now_us // 1000, windows, layout, pack_flags([flags]), values)

    def event(self, kind: str, value: int, text: str = "") -> None:
        """Make an Event of the whole device."""
        code = code_of(EVENT_KINDS, kind)
        self._keep("Event", self.now_us // 1000, NO_CHANNEL, code, value, text)

    def give(self, data: bytes) -> None:
        """Bytes from the gateway."""
        if data:
            self.link.receive(data)

    def take(self) -> bytes:
        """Everything the device would write now."""
        out = bytearray()
        while (frame := self.link.next_frame()) is not None:
            out += frame
        return bytes(out)

    @property
    def unacknowledged(self) -> int:
        """Items the device still keeps."""
        return len(self.spool)


def _key_of(payload: bytes) -> tuple[int, int]:
    return int.from_bytes(payload[1:5], "little"), int.from_bytes(payload[5:9], "little")
