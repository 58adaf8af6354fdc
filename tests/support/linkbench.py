"""One device and one gateway joined by a line that a test can spoil, all in simulated time.

The device is the firmware's own link, the gateway the real sessions; commits are a dictionary
whose delay the test chooses. Truth is what the device noted when it made it.
"""

from __future__ import annotations

from typing import Any

from clampgateway.clocksync import Clocks
from clampgateway.descriptions import Descriptions
from clampgateway.devices import Devices
from clampgateway.link import Links, LinkSession
from clampgateway.model import Item
from clampwire import framing, messages
from clampwire.codec import Codec
from support.devicelink import DeviceModel

UTC_MS = 1_760_000_000_000
STEP_US = 50_000


class LinkBench:
    """`step` moves time by 50 ms and carries bytes both ways, through `up` and `down`."""

    def __init__(self, device: DeviceModel | None = None, utc_known: bool = True) -> None:
        self.device = device or DeviceModel()
        self.now_us = 77_000_000
        self.utc_known = utc_known
        self.committed: dict[tuple[str, int, int], Item] = {}
        self.redelivered = 0
        self.conflicts = 0
        self.stored: dict[tuple[str, int], tuple[bytes, ...]] = {}
        self.hold_commits = False
        self._waiting: list[tuple[LinkSession, list[Item]]] = []
        self._to_device = b""
        self.start_gateway()

    def utc_ms(self) -> int:
        return UTC_MS + self.now_us // 1000 if self.utc_known else 0

    def start_gateway(self) -> None:
        """A gateway that knows what the store would: descriptions and highest boots."""
        boots: dict[str, int] = {}
        for key, boot, _seq in self.committed:
            boots[key] = max(boot, boots.get(key, 0))
        self.devices = Devices()
        self.changes: list[tuple[str, str]] = []
        self.devices.watch(lambda device, what: self.changes.append((device.key, what)))
        told = [(device, crc, parts) for (device, crc), parts in self.stored.items()]
        clocks = Clocks(lambda: self.now_us, self.utc_ms)
        self.links = Links(self.devices, Descriptions(told), boots, "gw-1", clocks)
        self.session = self.links.open("port-a")
        self._waiting = []
        self._to_device = b""

    def kill_gateway(self) -> None:
        """What was not committed is lost with it."""
        self.start_gateway()

    def replug(self) -> None:
        """The link is lost with what is on the line, and comes back at once."""
        self.links.close(self.session)
        self.collect()
        self.session = self.links.open("port-a")
        self._to_device = b""

    def step(self, up: bytes | None = None, device_runs: bool = True) -> None:
        """50 ms. `up` replaces what the device wrote; what it reads is of the step before."""
        self.now_us += STEP_US
        if device_runs:
            self.device.now_us += STEP_US
            self.device.give(self._to_device)
            told = self.device.take()
        else:
            told = b""
        self.session.receive(told if up is None else up, self.now_us)
        self._to_device = self.session.poll(self.now_us)
        self.collect()

    def collect(self) -> None:
        """Bring what the session took in to the store."""
        for device, crc, parts in self.session.take_descriptions():
            self.stored[device, crc] = parts
        items = self.session.take_items()
        if items:
            self._waiting.append((self.session, items))
        if not self.hold_commits:
            self.commit()

    def commit(self) -> None:
        """Everything that waits is durable now."""
        waiting, self._waiting = self._waiting, []
        for session, items in waiting:
            for item in items:
                kept = self.committed.setdefault((item.device, item.boot, item.seq), item)
                self.redelivered += kept is not item
                self.conflicts += kept.payload != item.payload
            session.committed(items)

    def run(self, seconds: float) -> None:
        """Let time pass on a clean line."""
        for _ in range(round(seconds * 1e6 / STEP_US)):
            self.step()

    def missing(self) -> set[tuple[int, int]]:
        """What was made and is neither committed nor lost with a device's power."""
        device = self.device.device
        have = {(boot, seq) for key, boot, seq in self.committed if key == device}
        return set(self.device.made) - have - self.device.lost

    def wrong(self) -> list[Item]:
        """Committed items that no device made so."""
        return [
            item
            for item in self.committed.values()
            if self.device.made.get((item.boot, item.seq)) != item.payload
        ]


CODEC = Codec()


def running(**options: Any) -> LinkBench:  # noqa: ANN401
    """A bench whose device was accepted and has its clock known."""
    bench = LinkBench(**options)
    bench.run(2)
    if bench.session.state != "accepted":
        raise AssertionError(f"the device is {bench.session.state}")
    return bench


def frames_of(data: bytes) -> list[tuple[str, Any]]:
    """(name, message) of every frame in `data`."""
    payloads = framing.Deframer(messages.PAYLOAD_MAX).feed(data)
    return [CODEC.decode(payload) for payload in payloads]


def frame(name: str, *fields: object) -> bytes:
    """One frame with a message."""
    return framing.frame(CODEC.encode(name, *fields))


def hello(device: str = "lathe", nonce: int = 5, major: int = messages.WIRE_MAJOR) -> bytes:
    """The frame of a Hello."""
    fields = (device, 1, nonce, "n", "b", "f", "r", 0, 0, 0, 1)
    return frame("Hello", major, messages.WIRE_MINOR, CODEC.table_crc, *fields)


def record_payload(seq: int, layout: int = 0) -> bytes:
    """The payload of a Record of boot 1 with the layout's two values."""
    return CODEC.encode("Record", 1, seq, 1000, 5, layout, b"", b"\x01\x02\x03\x04")
