"""A device's memory and link in compressed time, for `clampwork simulate --outage`.

    micropython -X heapsize=4m device/clampdevice/outage.py JOB.json
    python device/clampdevice/outage.py JOB.json

Owns the commands and the machine, whose values are made up: a day of it by the whole chain of
samples would take as long as the day. Spool, condensation, flash ring, counters, codec and link
are the firmware's own. What it makes goes to the side file `truth` of the job, each item with two
bytes of length before it, before anybody hears of it.

A job has `flash_bytes`, `ram_bytes`, `ram_items`, `truth`. A line on stdin is one JSON object, its
answer one line: {"run_s": n} lets time pass without a gateway; {"step_ms": n, "data": hex} with
one, whose bytes came; {"cut": 1} cuts the power and starts again; {"state": 1} tells the counters.
"""

import binascii
import gc
import json
import struct
import sys

from clampdevice.clock import Clock
from clampdevice.commands import Commands
from clampdevice.condense import Condenser
from clampdevice.counters import Counter
from clampdevice.flashring import FlashRing
from clampdevice.hal.sim.flash import RamFlash
from clampdevice.history import History, last_item
from clampdevice.link import Identity, Link, layout_of
from clampdevice.spool import Spool
from clampwire import framing, messages
from clampwire.codec import Codec
from clampwire.values import pack_flags, pack_values

SAMPLES_PER_S = 6400
VOLTS = 230.0
HEADROOM_US = 640000
STARTED = messages.code_of(messages.EVENT_KINDS, "started")
STATE = messages.code_of(messages.EVENT_KINDS, "state")

_H = ord("H")
_AMPS = (("rms", "A", _H, 1, -3), ("peak", "A", _H, 1, -2))
_FIRST = _AMPS + (("min", "A", _H, 1, -3), ("max", "A", _H, 1, -3))
CHANNELS = (
    ("current1", "current", "A", "", 6400.0, 30.0, 0.02, 1.0, "",
     _FIRST + (("apparent_energy", "VAh", ord("I"), 1, -3),)),
    ("current2", "current", "A", "", 6400.0, 30.0, 0.02, 1.0, "", _AMPS),
    ("current3", "current", "A", "", 6400.0, 30.0, 0.02, 1.0, "", _AMPS),
    ("vibration1", "vibration", "m/s2", "", 3200.0, 157.0, 0.1, 5.0, "",
     (("a", "m/s2", _H, 3, -3), ("v_x", "mm/s", _H, 1, -2), ("v_y", "mm/s", _H, 1, -2),
      ("v_z", "mm/s", _H, 1, -2))),
    ("input1", "input", "", "", 0.0, 1.0, 0.0, 0.0, "", (("state", "", ord("B"), 1, 0),)),
)  # fmt: skip
LAYOUT = tuple((code, mult, exp) for part in CHANNELS for _k, _u, code, mult, exp in part[-1])


class Machine:
    """Values of one second, from a number sequence of its own."""

    def __init__(self) -> None:
        self._state = 12345
        self.counter = Counter("current1")

    def _noise(self) -> float:
        self._state = (self._state * 1664525 + 1013904223) & 0xFFFFFFFF
        return (self._state >> 8) / 16777216

    def second(self, number: int) -> tuple:
        """(values of a record, whether the machine has just changed its state)."""
        phase = number % 420
        working = phase >= 180
        amps = (6.0 if working else 0.8) * (0.9 + 0.2 * self._noise())
        self.counter.add(SAMPLES_PER_S, 1000 * SAMPLES_PER_S, amps, None, amps * VOLTS, working)
        values: list = [amps, 1.5 * amps, 0.9 * amps, 1.1 * amps]
        values.append((self.counter.steps("apparent_energy", 1, -3),))
        for _ in range(2):
            other = amps * (0.95 + 0.1 * self._noise())
            values += [other, 1.5 * other]
        shake = 4.0 if working else 0.05
        values += [shake * self._noise() for _ in range(4)]
        values.append(int(working))
        return values, phase in (0, 180)


class Device:
    """One device over its power-ups; answers the job's commands."""

    def __init__(self, job: dict) -> None:
        self._job = job
        self._truth = open(job["truth"], "wb")
        self._flash = RamFlash(job["flash_bytes"])
        self._codec = Codec()
        self._machine = Machine()
        self._boot = 0
        self._seconds = 0
        self._before = {"condensed": 0, "moved": 0, "flash_dropped": 0}  # in earlier power-ups
        self._power_up()

    def _power_up(self) -> None:
        job = self._job
        self._now_us = 0
        self._due_us = 1000000
        self._spool = Spool(job["ram_bytes"], job["ram_items"])
        ring = FlashRing(self._flash, job["flash_bytes"] // 4096)
        last = last_item(ring)
        self._boot = max(self._boot, last[0] if last else 0) + 1
        history = History(ring, self._spool, Condenser(CHANNELS), self._boot)
        commands = Commands((("describe", lambda args: {}), ("hello", lambda args: {})))
        identity = Identity("outage", "Outage", "sim", "", sys.implementation.name, 1)
        self._clock = Clock(lambda: self._now_us)
        self._link = Link(
            self._codec, self._spool, self._clock, identity, CHANNELS, commands, self,
            77 * self._boot, framing.stuff,
        )  # fmt: skip
        self._link.boot = self._boot
        self._link.join(history)
        self._history = history
        if self._boot > 1:
            seq = self._link.tell(history.cut, 0)
            self._note(self._spool.payload(seq))
        self._keep("Event", 0, messages.NO_CHANNEL, STARTED, 1, "")

    def choose_boot(self, highest: int) -> int:
        """See `link.Link`: the gateway never knows a higher one here."""
        return self._boot

    def confirmed(self) -> None:
        """See `link.Link`."""

    def told(self, payload) -> None:
        """See `link.Link`: what is told of losses is judged by what was lost."""

    def status(self, _link: Link) -> bytes:
        """See `link.Link`: what is of interest here goes another way."""
        return self._codec.encode("Status", *(0,) * 14, 0.0)

    def _note(self, payload) -> None:
        self._truth.write(struct.pack("<H", len(payload)))
        self._truth.write(payload)

    def _keep(self, name: str, *fields: object) -> None:
        payload = self._codec.encode(name, self._boot, self._spool.next_seq, *fields)
        self._note(payload)
        self._link.made(self._spool.put(payload))

    def _pass(self, until_us: int) -> None:
        """Everything that happens up to a time, but for the link."""
        while self._due_us <= until_us:
            self._now_us = self._due_us
            self._due_us += 1000000
            self._seconds += 1
            now_ms = self._clock.now_ms()  # its ticks wrap: it must be asked now and then
            values, changed = self._machine.second(self._seconds)
            flags = pack_flags([0] * len(CHANNELS))
            layout = layout_of(self._link.describe_crc)
            self._keep("Record", now_ms, 5, layout, flags, pack_values(LAYOUT, values))
            if changed:
                self._keep("Event", now_ms, messages.NO_CHANNEL, STATE, 1 + values[-1], "")
            if hasattr(gc, "mem_free"):
                gc.collect()
            self._work()
        self._now_us = until_us
        self._work()

    def _work(self) -> None:
        while self._history.work(self._now_us // 1000, lambda _us: HEADROOM_US, lambda: 0):
            pass

    def obey(self, command: dict) -> dict:
        """Run one command; returns its answer."""
        if "run_s" in command:
            self._pass(self._now_us + 1000000 * command["run_s"])
            return {}
        if "step_ms" in command:
            data = binascii.unhexlify(command["data"])
            self._pass(self._now_us + 1000 * command["step_ms"])
            if data:
                self._link.receive(data)
            out = bytearray()
            view = self._link.next_frame()
            while view:
                out += view
                view = self._link.next_frame()
            return {"data": binascii.hexlify(out).decode(), "idle": self._idle()}
        if "cut" in command:
            self._before = self._moved_down()
            self._power_up()
            return {}
        return self._state()

    def _idle(self) -> bool:
        """Whether all is delivered but the newest second or two."""
        history, spool = self._history, self._spool
        behind = history.waiting or history.in_flight or spool.losses
        return not behind and len(spool) < 3

    def _moved_down(self) -> dict:
        history, before = self._history, self._before
        return {
            "condensed": before["condensed"] + history.condensed,
            "moved": before["moved"] + history.moved,
            "flash_dropped": before["flash_dropped"] + history.dropped,
        }

    def _state(self) -> dict:
        self._truth.flush()
        ring, history = self._history.ring, self._history
        state = {
            "runtime": sys.implementation.name,
            "seconds": self._seconds,
            "next_seq": self._spool.next_seq,
            "ram_items": len(self._spool),
            "ram_dropped": self._spool.dropped,
            "flash_pages": ring.head - max(ring.tail >> 8, ring.first_page),
            "programs": self._flash.programs,
            "erases": self._flash.erases,
            "crc_errors": ring.crc_errors,
            "resent": history.resent + self._spool.resent,
        }
        state.update(self._moved_down())
        return state


def main(path: str) -> int:
    """Obeys commands until stdin ends."""
    with open(path) as file:
        device = Device(json.load(file))
    for line in sys.stdin:
        print(json.dumps(device.obey(json.loads(line))))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
