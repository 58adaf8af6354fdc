"""A device's layers of memory over many power-ups, and a gateway that looks for what is lost.

Truth is what the device made; the gateway's check asks of every item that it came as it was, in
exactly one condensed record, or in the range of a Gap.
"""

import gc
import struct

from fakes_flash import TEARS, Flash, Random, torn

from clampdevice.condense import Condenser
from clampdevice.flashring import FlashRing
from clampdevice.history import History, last_item, record_span
from clampdevice.spool import Loss, Spool
from clampwire.codec import Codec
from clampwire.messages import EVENT_KINDS, TO_THE_END, code_of
from clampwire.values import pack_values

CODEC = Codec()
DESCRIBED = (
    ("current1", "current", "A", "", 0.0, 0.0, 0.0, 0.0, "",
     (("rms", "A", ord("H"), 1, -3), ("energy", "Wh", ord("I"), 1, -3))),
)  # fmt: skip
LAYOUT = ((ord("H"), 1, -3), (ord("I"), 1, -3))
HEADROOM_US = 640000
RECORD = CODEC.encode("Record", 0, 0, 0, 5, 0, b"", b"")[0]
GAP = CODEC.encode("Gap", 0, 0, 0, 2, 0, 1, 0, 0, 0, 0)[0]
STARTED = code_of(EVENT_KINDS, "started")
TIMEOUT_MS = 3000


class Device:
    """The layers of one device over many power-ups, and the truth of what was made."""

    def __init__(self, sectors: int = 6, ram_bytes: int = 2600, ram_items: int = 64) -> None:
        self.flash = Flash(sectors)
        self.sectors = sectors
        self.ram = (ram_bytes, ram_items)
        self.boot = 0
        self.made: dict = {}
        self.energy = 0
        if sectors:
            self.power_up()

    def copy(self, data: bytearray) -> "Device":
        """Another one with the same past, and this in its flash; its power is off."""
        other = Device(0)
        other.flash = Flash(0)
        other.flash.data = data
        other.flash.wear = [0] * self.sectors
        other.sectors, other.ram, other.boot = self.sectors, self.ram, self.boot
        other.made, other.energy = dict(self.made), self.energy
        return other

    def power_up(self, first_seq: int = 0) -> None:
        self.spool = Spool(self.ram[0], self.ram[1], first_seq)
        ring = FlashRing(self.flash, self.sectors)
        last = last_item(ring)
        self.boot = max(self.boot, last[0] if last else 0) + 1
        self.history = History(ring, self.spool, Condenser(DESCRIBED), self.boot)
        self.now_ms = 0
        if self.boot > 1:
            self.tell(self.history.cut)
        self.keep("Event", 0, 255, STARTED, 1, "")

    def keep(self, name: str, *fields: object) -> int:
        seq = self.spool.next_seq
        payload = CODEC.encode(name, self.boot, seq, *fields)
        self.made[(self.boot, seq)] = payload
        return self.spool.put(payload)

    def tell(self, loss: Loss) -> int:
        of_boot = () if loss.boot in (0, self.boot) else (loss.boot,)
        seq = self.keep(
            "Gap", self.now_ms, loss.reason, loss.channel, loss.first, loss.last, loss.from_ms,
            loss.to_ms, loss.samples, *of_boot,
        )  # fmt: skip
        self.history.tells(seq, loss)
        return seq

    def second(self, event: bool = False, room: int = HEADROOM_US) -> None:
        """A record, an event now and then, and what the flash has to do."""
        self.now_ms += 1000
        self.energy += 7 + self.now_ms // 1000 % 13
        values = pack_values(LAYOUT, (1.0 + self.now_ms // 1000 % 7 / 10, (self.energy,)))
        self.keep("Record", self.now_ms, 5, 0, b"", values)
        if event:
            self.keep("Event", self.now_ms, 0, 1, 2, "idle: 3 s below 0.4 A")
        for _ in range(40):
            if not self.history.work(self.now_ms, lambda _us: room, lambda: 0):
                break
        if hasattr(gc, "mem_free"):
            gc.collect()  # as the app does after a record; else `made` lies all over the heap


class Gateway:
    """Commits what comes, and looks whether every item is accounted for."""

    def __init__(self) -> None:
        self.got: dict = {}
        self.twice = 0

    def take(self, payload) -> tuple:
        key = struct.unpack_from("<II", payload, 1)
        if key in self.got:
            self.twice += 1
            assert self.got[key] == bytes(payload), "one name, two items"
        self.got[key] = bytes(payload)
        return key

    def gaps(self) -> list:
        out = []
        for (boot, seq), payload in self.got.items():
            if payload[0] == GAP:
                gap = CODEC.decode(payload)[1]
                out.append((gap.of_boot or boot, gap.first_seq, gap.last_seq, boot, seq))
        return out

    def check(self, made: dict) -> tuple:
        """(fine, condensed, announced): every item is one of them. Raises for a lost one."""
        covered: set = set()
        for (boot, seq), payload in self.got.items():
            if payload[0] != RECORD or payload[14] == 5:
                assert made[(boot, seq)] == payload
                continue
            first, windows = record_span(payload)
            inside = [(boot, s) for s in range(first, seq + 1) if made[(boot, s)][0] == RECORD]
            assert windows == 5 * len(inside), "ten seconds are ten records"
            for key in inside:
                assert key not in covered, "in two condensed records"
                assert key not in self.got or key == (boot, seq), "fine and condensed"
                covered.add(key)
            # The counter is the last record's, to the last digit.
            assert payload[-6:-2] == made[(boot, seq)][-4:]
        gaps = self.gaps()
        announced = 0
        for key in made:
            if key in self.got or key in covered:
                continue
            boot, seq = key
            told = False
            for of_boot, first, last, own, own_seq in gaps:
                if last == TO_THE_END:
                    told = told or (of_boot, first) <= key < (own, own_seq)
                else:
                    told = told or (of_boot == boot and first <= seq <= last)
            assert told, "silently lost: " + str(key)
            announced += 1
        return len(self.got) - len(covered), len(covered), announced


def drain(device: Device, gateway: Gateway, lose=lambda: False) -> list:
    """A session: losses told, the lane, then the RAM; returns the names in the order they came."""
    history, spool = device.history, device.spool
    history.new_session()
    spool.new_session()
    order = []
    for _ in range(100000):
        device.now_ms += 250
        told = None
        if spool.losses and spool.has_room(42):
            told = spool.losses.pop(0)
            device.tell(told)
        sent = []
        while True:
            payload = history.next(device.now_ms, TIMEOUT_MS, 16)
            if payload is None:
                break
            sent.append(gateway.take(payload) if not lose() else None)
        if not history.waiting:
            while True:
                seq = spool.next_history(device.now_ms, TIMEOUT_MS, 16)
                if seq < 0:
                    break
                spool.mark_sent(seq, device.now_ms)
                sent.append(gateway.take(spool.payload(seq)) if not lose() else None)
        for key in sent:
            if key is not None and not lose():
                history.ack(key[0], key[1], key[1])
                spool.ack(key[0], key[1], key[1])
                order.append(key)
        while history.work(device.now_ms, lambda _us: HEADROOM_US, lambda: 0):
            pass
        idle = not history.waiting and not history.in_flight
        if idle and not len(spool) and not spool.losses:
            return order
    raise AssertionError("the lane does not end")


def cut_everywhere(seed: int, operations: int, tears: tuple = TEARS) -> dict:
    """An outage that overfills the ring, cut at each operation; returns what was counted."""
    rng = Random(seed)
    device = Device(sectors=6, ram_bytes=2600, ram_items=64)
    counts = {"cuts": 0, "images": 0, "announced": 0, "condensed": 0}

    def before(flash, op: str, place: int, page: bytes) -> None:
        counts["cuts"] += 1
        for tear in tears:
            counts["images"] += 1
            after = device.copy(torn(flash.data, op, place, page, tear, rng))
            after.power_up()
            after.second()
            gateway = Gateway()
            drain(after, gateway)
            _fine, condensed, announced = gateway.check(after.made)
            assert gateway.twice == 0
            counts["announced"] += announced
            counts["condensed"] += condensed

    device.flash.before = before
    while counts["cuts"] < operations:
        device.second(event=rng.below(9) == 0)
        if rng.below(700) == 0:
            device.flash.before = calm
            device.power_up()
            device.flash.before = before
    return counts


calm = Flash(0).before
