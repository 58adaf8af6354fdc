"""The real gateway's link at the other end of the emulated USB, in emulated time.

Owns the carrying of bytes and a store that commits after a while. Sessions, clocks and decoding
are the gateway's own.
"""

from emulator import Pico

from clampgateway.clocksync import Clocks
from clampgateway.descriptions import Descriptions
from clampgateway.devices import Devices
from clampgateway.link import Links
from clampgateway.model import EVENT, GAP, RECORD, Item, decode_event, decode_gap, decode_record

UTC_MS = 1_760_000_000_000
_STEP_US = 5_000
COMMIT_US = 250_000
_HEARD_BYTES = 2000


class Gateway:
    """Serves one device from `start` on.

    Attributes:
        items: what was committed, by (boot, seq).
        redelivered: items that came again.
        heard: the last bytes from the device, to see what it says when it fails.
        reading: whether it takes bytes and sends any; see also `Pico.host_reads`.
    """

    def __init__(self, pico: Pico) -> None:
        self._pico = pico
        clocks = Clocks(lambda: pico.now_us, lambda: UTC_MS + pico.now_us // 1000)
        self.devices = Devices()
        self.descriptions = Descriptions([])
        self._links = Links(self.devices, self.descriptions, {}, "gw-hil", clocks)
        self.session = self._links.open("emulated")
        self.items: dict[tuple[int, int], Item] = {}
        self.redelivered = 0
        self.reading = True
        self.heard = b""
        self._waiting: list[tuple[int, list[Item]]] = []

    def start(self) -> None:
        """Takes over the serial line."""
        self._pico.on_bytes = self._receive
        self._step()

    def _receive(self, data: bytes) -> None:
        self.heard = (self.heard + data)[-_HEARD_BYTES:]
        if self.reading:
            self.session.receive(data, self._pico.now_us)

    def _step(self) -> None:
        now_us = self._pico.now_us
        if self.reading:
            self.session.take_descriptions()
            items = self.session.take_items()
            if items:
                self._waiting.append((now_us + COMMIT_US, items))
            while self._waiting and self._waiting[0][0] <= now_us:
                self._commit(self._waiting.pop(0)[1])
            self._pico.send(self.session.poll(now_us))
        self._pico.at(_STEP_US, self._step)

    def _commit(self, items: list[Item]) -> None:
        for item in items:
            key = (item.boot, item.seq)
            if key in self.items:
                if self.items[key].payload != item.payload:
                    raise AssertionError(f"{key} came again with other content")
                self.redelivered += 1
            self.items[key] = item
        self.session.committed(items)

    @property
    def status(self) -> dict[str, float]:
        """What the device told last; empty before."""
        device = next(iter(self.devices), None)
        return dict(device.status or {}) if device else {}

    def readings(self, kind: int) -> list:
        """Decoded items of a kind (RECORD, EVENT, GAP), in the order of their seq."""
        decode = {RECORD: decode_record, EVENT: decode_event, GAP: decode_gap}[kind]
        found = []
        for key in sorted(self.items):
            item = self.items[key]
            if item.kind == kind:
                description = self.descriptions.get(item.device, item.describe_crc)
                found.append(decode(item, description))
        return found
