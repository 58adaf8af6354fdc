"""The hardware abstraction of the ESP32 family under MicroPython.

Owns what is claimed at start and in which order: the large buffers first, while the heap is in one
piece, then pins, then the console. The parts are in the other files; each takes what it needs, so
that a PC can test it. What this chip cannot promise is in docs/esp32.md and in `report()`.
"""

import gc
import os
import sys
import time

import esp32
import machine

from clampdevice.hal.esp32.calibrate import MEASURED, Line, unpack
from clampdevice.hal.esp32.chips import Chip, check_scale, chip_of
from clampdevice.hal.esp32.costs import FlashCost, RadioCost
from clampdevice.hal.esp32.storage import NAMESPACE, Storage
from clampdevice.hal.esp32.watchdog import Watchdog, reset_cause

_BAUD = 115200
_TIMER = 0
_LINE_KEY = "adc.line"
ONESHOT = "oneshot"
I2S = "i2s"
SCAN = "scan"
# What samples with holes cannot tell: anything that counts time in samples, or looks above half of
# a rate of 1,000 a second.
_NOT_PACED = ("frequency", "thd", "real", "pf", "energy")


class Hal:
    """See `clampdevice.hal` for the interface.

    Also: `read_file`, `write_file` (see `storage.Storage`); `watchdog`; `report()`, what sampling,
    flash and radio cost so far; `close()`, which ends what runs by itself.

    `sources.adc.kind` of board.json says what samples the currents: "oneshot", the chip's own ADC
    (`pins`, `atten_db`); "i2s" (`sck_pin`, `ws_pin`, `sd_pin`, `i2s`); "scan", an external ADC
    (`driver`, `bus`, `inputs`).
    """

    def __init__(self, config: dict) -> None:
        chip = chip_of(sys.implementation._machine)  # noqa: SLF001 - MicroPython's name of it
        self.chip = chip.name
        version = sys.implementation.version
        self.runtime = "MicroPython " + ".".join(str(part) for part in version[:3])
        self.ticks_us = time.ticks_us
        self._flash = FlashCost(time.ticks_us)
        self._storage = Storage(esp32.NVS(NAMESPACE), self._flash)
        self._adc = self._inputs = self._radio = None
        self._line: Line | None = None
        parts = config.get("sources", {})
        if "adc" in parts:
            _check_features(config, parts["adc"])
            self._adc = self._open_adc(parts["adc"], chip)
            self._flash.watch(self._adc.missed_by_now)
            self._radio = RadioCost(time.ticks_us, self._adc.missed_by_now)
        self.watchdog = Watchdog(machine.WDT, _start_feeding)
        self.reset_cause = reset_cause(machine.reset_cause())
        self._led = None
        self._led_on = False
        board = config.get("pins", {})
        if "led" in board:
            self._led = machine.Pin(board["led"], machine.Pin.OUT, value=0)
        self.console = self._open_console(config.get("link", {}))

    def _open_adc(self, part: dict, chip: Chip):  # noqa: ANN202 - any block source
        kind = part.get("kind", ONESHOT)
        ring_ms = part.get("ring_ms", 450)
        if kind == I2S:
            return self._open_i2s(part, ring_ms)
        from clampdevice.hal.esp32.paced import PacedSource

        own_clock = False
        if kind == ONESHOT:
            scanner = self._open_oneshot(part, chip)
        elif kind == SCAN:
            from clampdevice.hal.esp32.buses import scanner as open_scanner

            scanner, own_clock = open_scanner(part, machine, time.ticks_us)
        else:
            raise ValueError(f"sources.adc.kind: {kind!r}; {ONESHOT}, {SCAN} or {I2S}")
        return PacedSource(
            scanner, part["rate_hz"], _start_timer, time.ticks_us, ring_ms, own_clock
        )

    def _open_oneshot(self, part: dict, chip: Chip):  # noqa: ANN202 - OneShot, imported late
        from clampdevice.hal.esp32.oneshot import OneShot

        pins = part["pins"]
        chip.check_pins(pins)
        if len(pins) != part["slots"]:
            raise ValueError(f"sources.adc: {part['slots']!r} slots and {len(pins)} pins")
        name, low_mv, high_mv = check_scale(part)
        atten = getattr(machine.ADC, name)
        adcs = [machine.ADC(machine.Pin(pin), atten=atten) for pin in pins]
        scanner = OneShot(adcs, pins, low_mv, high_mv)
        kept = unpack(self._storage.read_file(_LINE_KEY))
        line = scanner.calibrate(chip.scheme, kept, time.ticks_us)
        if line.origin == MEASURED and (
            kept is None or abs(kept.nv_per_code - line.nv_per_code) * 1000 > line.nv_per_code
        ):
            self._storage.write_file(_LINE_KEY, line.pack())
        self._line = line
        return scanner

    def _open_i2s(self, part: dict, ring_ms: int):  # noqa: ANN202 - I2sSource, imported late
        from clampdevice.hal.esp32 import i2s

        i2s.check_i2s(part)
        rate_hz = int(part["rate_hz"])
        pins = [machine.Pin(part[key]) for key in ("sck_pin", "ws_pin", "sd_pin")]

        def new_i2s() -> machine.I2S:
            return machine.I2S(
                part.get("i2s", 0),
                sck=pins[0],
                ws=pins[1],
                sd=pins[2],
                mode=machine.I2S.RX,
                bits=i2s.BITS,
                format=machine.I2S.STEREO,
                rate=rate_hz,
                ibuf=i2s.ring_bytes(rate_hz, ring_ms),
            )

        return i2s.I2sSource(new_i2s, rate_hz, ring_ms, time.ticks_us)

    def _open_console(self, link: dict):  # noqa: ANN202 - either console
        from clampdevice.hal.esp32 import console

        kind = link.get("kind", "uart0")
        baud = link.get("baud", _BAUD)
        if kind == "uart":
            uart = machine.UART(
                link.get("uart", 1),
                baudrate=baud,
                tx=machine.Pin(link["tx_pin"]),
                rx=machine.Pin(link["rx_pin"]),
                txbuf=console.UART_TX_BYTES,
                rxbuf=console.UART_RX_BYTES,
                timeout=0,
            )
            return console.UartConsole(uart, baud, time.ticks_us)
        if kind not in ("uart0", "usb"):
            raise ValueError(f"link.kind: {kind!r}; uart0, usb or uart")
        return console.StdioConsole(
            sys.stdin, sys.stdout, time.ticks_us, baud if kind == "uart0" else None
        )

    def sources(self, config: dict) -> dict:
        """Block sources by name, and "inputs", the source of edges."""
        found: dict = {}
        parts = config.get("sources", {})
        if self._adc is not None:
            found["adc"] = self._adc
        if "accelerometer" in parts:
            from clampdevice.hal.esp32.buses import fifo_source

            found["accelerometer"] = fifo_source(
                parts["accelerometer"], machine, time.sleep_us, time.ticks_us
            )
        if "inputs" in parts:
            from clampdevice.hal.esp32.inputs import Inputs

            used = [part["index"] for part in config["channels"] if part["quantity"] == "input"]
            self._inputs = Inputs(parts["inputs"], used, machine.Pin, time.ticks_us, _new_counter)
            found["inputs"] = self._inputs
        return found

    def read_slot(self, slot: int) -> bytes:
        return self._storage.read_slot(slot)

    def write_slot(self, slot: int, data: bytes) -> None:
        self._storage.write_slot(slot, data)

    def read_file(self, name: str) -> bytes:
        return self._storage.read_file(name)

    def write_file(self, name: str, data: bytes) -> None:
        self._storage.write_file(name, data)

    def unique_id(self) -> str:
        """Twelve hex digits: the chip's base MAC address."""
        return machine.unique_id().hex()

    def nonce(self) -> int:
        return int.from_bytes(os.urandom(4), "little")

    def set_led(self, on: bool) -> None:
        if on != self._led_on and self._led is not None:
            self._led_on = on
            self._led.value(on)

    def heap_free(self) -> int:
        """Free heap in bytes, what MicroPython could still get from the system included."""
        return gc.mem_free()

    def radio(self, on: bool) -> None:
        """Whoever switches the radio says so, so that its cost is known."""
        if self._radio is not None:
            self._radio.note(on)

    def begin(self, device: str, start_us: int, describes: list) -> None:
        """Nothing to do; a simulated board opens its side file here."""

    def made(self, payload: bytes) -> None:
        """Nothing to do; a simulated board notes the item in its side file."""

    def report(self) -> dict:
        """What this board was and was not able to do, for the status command."""
        found: dict = {"flash": self._flash.report(), "storage_faults": self._storage.faults}
        if self._adc is not None:
            found["adc"] = self._adc.report()
        if self._radio is not None:
            found["radio"] = self._radio.report()
        if self._line is not None:
            found["adc_line"] = {
                "origin": self._line.origin,
                "gain_pct": self._line.gain_pct,
                "residual_mv": round(self._line.residual_mv, 2),
            }
        if self._inputs is not None:
            found["edges_lost"] = self._inputs.edges_lost
        return found

    def close(self) -> None:
        """Ends sampling and interrupts; what the prompt finds is quiet."""
        self.watchdog.stop()
        if self._adc is not None:
            self._adc.close()
        if self._inputs is not None:
            self._inputs.close()


def _start_timer(period_us: int, callback) -> machine.Timer:
    timer = machine.Timer(_TIMER)
    # The stubs have no overload for a period in ticks of one's own; the port takes it.
    timer.init(mode=1, period=period_us, tick_hz=1000000, callback=callback)  # type: ignore[call-overload]
    return timer


def _start_feeding(period_ms: int, callback) -> machine.Timer:
    timer = machine.Timer(-1)
    timer.init(mode=machine.Timer.PERIODIC, period=period_ms, callback=callback)
    return timer


def _new_counter(number: int, pin):  # noqa: ANN202 - a Counter, or None
    """A pulse counter on `pin`; None where the chip or the firmware has none to spare."""
    counter = getattr(machine, "Counter", None)
    if counter is None:
        return None
    try:
        return counter(number, pin, edge=counter.RISING)
    except (ValueError, OSError):
        return None


def _check_features(config: dict, adc: dict) -> None:
    """Raises ValueError if a channel of a paced source asks for what it cannot give."""
    if adc.get("kind", ONESHOT) == I2S:
        return
    for channel in config.get("channels", []):
        if channel.get("quantity") not in ("current", "voltage"):
            continue
        for feature in channel.get("features", ()):
            harmonic = feature[:1] == "h" and feature[1:].isdigit()
            if harmonic or feature in _NOT_PACED:
                raise ValueError(
                    f"{channel['key']}: feature {feature} needs gapless samples; this ADC is read "
                    f"one by one at {adc['rate_hz']:g}/s. Take an I2S ADC, or an RP2040"
                )
