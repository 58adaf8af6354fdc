"""A simulated board: the firmware's own code on a PC, with a folder as its flash.

The working directory holds `board.json` and `scenario.json`, the two boot slots, and `made.jsonl`,
the side file of truth: every item this device made, beside the link, for tests to compare.
"""

import binascii
import gc
import json
import os
import struct
import sys
import time

from clampdevice.hal.sim.console import Console
from clampdevice.hal.sim.flash import FileFlash
from clampdevice.hal.sim.sources import make_sources

# CPython has no ticks; its monotonic clock is cut to the same period by `clock.Clock`.
_ticks_us = getattr(time, "ticks_us", None) or (lambda: time.monotonic_ns() // 1000)
_mem_free = getattr(gc, "mem_free", None)

SIDE_FILE = "made.jsonl"
RING_FILE = "ring.bin"
_HEAD = "<BIIIB"


class Hal:
    """See `clampdevice.hal` for the interface."""

    chip = "sim"
    reset_cause = 1

    def __init__(self, config: dict) -> None:
        self._config = config
        self.console = Console()
        self.led_on = False
        name = "MicroPython" if sys.implementation.name == "micropython" else "CPython"
        version = ".".join(str(part) for part in tuple(sys.implementation.version)[:3])
        self.runtime = name + " " + version
        self._made = open(SIDE_FILE, "a")

    def ticks_us(self) -> int:
        return _ticks_us()

    def read_slot(self, slot: int) -> bytes:
        try:
            with open("boot." + str(slot), "rb") as file:
                return file.read()
        except OSError:
            return b""

    def write_slot(self, slot: int, data: bytes) -> None:
        name = "boot." + str(slot)
        with open(name + ".new", "wb") as file:
            file.write(data)
        os.rename(name + ".new", name)

    def ring_flash(self, start: int, size: int) -> FileFlash:
        """The file `ring.bin`, which stands for flash; where it begins does not matter here."""
        return FileFlash(RING_FILE, size)

    def unique_id(self) -> str:
        """Sixteen hex digits, drawn at first use and kept in the folder."""
        try:
            with open("id") as file:
                return file.read()
        except OSError:
            pass
        text = binascii.hexlify(_random(8)).decode()
        with open("id", "w") as file:
            file.write(text)
        return text

    def nonce(self) -> int:
        return struct.unpack("<I", _random(4))[0]

    def sources(self, config: dict) -> dict:
        """Block sources and inputs that play `scenario.json`, as `make_sources` says."""
        with open("scenario.json") as file:
            return make_sources(config, json.load(file))

    def set_led(self, on: bool) -> None:
        self.led_on = on

    def heap_free(self) -> int:
        """Free heap in bytes; 0 under CPython, which has no such limit."""
        return _mem_free() if _mem_free else 0

    def close(self) -> None:
        """Nothing here runs on without the firmware."""

    def begin(self, device: str, start_us: int, describes: list) -> None:
        """Open a power-up in the side file: both clocks now, and what Describe says."""
        now_ns = time.time_ns()
        self._write(
            {
                "device": device,
                "start_us": start_us,
                "start_utc_ms": now_ns / 1000000,
                "runtime": self.runtime,
                "describes": [binascii.hexlify(payload).decode() for payload in describes],
            }
        )

    def made(self, payload: bytes) -> None:
        """Note an item in the side file before it can be sent."""
        kind, boot, seq, low, high = struct.unpack_from(_HEAD, payload, 0)
        self._write(
            {
                "boot": boot,
                "seq": seq,
                "kind": kind,
                "end_ms": low | high << 32,
                "crc": binascii.crc32(payload),
                "payload": binascii.hexlify(payload).decode(),
            }
        )

    def _write(self, entry: dict) -> None:
        self._made.write(json.dumps(entry) + "\n")
        self._made.flush()


def _random(count: int) -> bytes:
    with open("/dev/urandom", "rb") as file:
        return file.read(count)
