"""The hardware abstraction of RP2040 and RP2350 under MicroPython.

Owns what is claimed at start and in which order: the ring and its DMA channels first, while heap
and channels are free (a radio and an SPI bus take some later), then pins, then the console. The
parts are in the other files; each takes what it needs, so that a PC can test it.
"""

import gc
import os
import sys
import time

import machine
import rp2
import uctypes

from clampdevice.hal.rp2.adc import AdcSource
from clampdevice.hal.rp2.chips import chip_of
from clampdevice.hal.rp2.converter import FIRST_GPIO, TEMPERATURE
from clampdevice.hal.rp2.storage import BootSlots
from clampdevice.hal.rp2.watchdog import Watchdog

_XIP_BASE = 0x10000000
_BAUD = 115200


class _Memory:
    """See `memory.aligned_array`."""

    @staticmethod
    def addressof(buffer) -> int:
        return uctypes.addressof(buffer)

    @staticmethod
    def blank(size: int) -> object:
        # Flash, as it is mapped: something to copy from that takes no heap.
        return uctypes.bytearray_at(_XIP_BASE, size)

    @staticmethod
    def bytes_of(buffer) -> object:
        return uctypes.bytearray_at(uctypes.addressof(buffer), 4 * len(buffer))


class Hal:
    """See `clampdevice.hal` for the interface.

    Also: `watchdog`; `close()`, which ends what runs without the CPU. `chip` names the curve by
    which `clampdevice.linear` straightens the ADC's codes.
    """

    def __init__(self, config: dict) -> None:
        chip = chip_of(sys.implementation._machine)  # noqa: SLF001 - MicroPython's name of it
        self.chip = chip.name
        version = sys.implementation.version
        self.runtime = "MicroPython " + ".".join(str(part) for part in version[:3])
        self.ticks_us = time.ticks_us
        self._adc = self._accelerometer = self._inputs = None
        parts = config.get("sources", {})
        if "adc" in parts:
            self._adc = AdcSource(
                parts["adc"], chip, machine.mem32, rp2.DMA, _Memory, time.ticks_us
            )
            self._prepare_pins(self._adc.converter.inputs)
        if "accelerometer" in parts:
            from clampdevice.hal.rp2.sensors import accelerometer

            self._accelerometer = accelerometer(parts["accelerometer"], chip, _Memory)
        self.watchdog = Watchdog(machine.WDT, chip, machine.mem32)
        self.reset_cause = self.watchdog.reset_cause()
        self._slots = BootSlots()
        self._led = machine.Pin("LED", machine.Pin.OUT)
        self._led_on = False
        self.console = self._open_console(config.get("link", {}), chip)

    def _prepare_pins(self, inputs: list) -> None:
        # Once a pin, and never read: this alone takes the pad's pull-down off and its input
        # buffer away. It may leave the ADC with a conversion of its own; `start` halts that.
        for number in inputs:
            if number == TEMPERATURE:
                machine.ADC(machine.ADC.CORE_TEMP)
            else:
                machine.ADC(machine.Pin(FIRST_GPIO + number))

    def _open_console(self, link: dict, chip) -> object:
        if link.get("kind", "usb") == "usb":
            from clampdevice.hal.rp2.usb import UsbConsole

            return UsbConsole(sys.stdin, sys.stdout, machine.mem32, time.ticks_us)
        from clampdevice.hal.rp2.uart import UartConsole

        number = link.get("uart", 0)
        # Sets pins and rate; its interrupts are masked and its buffers never used after that.
        self._uart = machine.UART(
            number,
            baudrate=link.get("baud", _BAUD),
            tx=machine.Pin(link["tx_pin"]),
            rx=machine.Pin(link["rx_pin"]),
        )
        console = UartConsole(number, chip, machine.mem32, rp2.DMA, _Memory)
        console.start()
        return console

    def sources(self, config: dict) -> dict:
        """Block sources by name, and "inputs", the source of edges."""
        found: dict = {}
        parts = config.get("sources", {})
        if self._adc is not None:
            found["adc"] = self._adc
        if self._accelerometer is not None:
            found["accelerometer"] = self._accelerometer
        if "inputs" in parts:
            from clampdevice.hal.rp2.inputs import Inputs

            used = [part for part in config["channels"] if part["quantity"] == "input"]
            self._inputs = Inputs(parts["inputs"], used, machine.Pin, time.ticks_us, rp2)
            found["inputs"] = self._inputs
        return found

    def read_slot(self, slot: int) -> bytes:
        return self._slots.read_slot(slot)

    def write_slot(self, slot: int, data: bytes) -> None:
        self._slots.write_slot(slot, data)

    def ring_flash(self, start: int, size: int) -> object:
        """The spool's part of the flash. Raises ValueError, with what to do, if it is not free."""
        from clampdevice.hal.rp2.flash import RingFlash, ring_problem

        sectors = RingFlash(rp2.Flash()).sectors
        problem = ring_problem(start, size, sectors, os.statvfs("/"))
        if problem:
            raise ValueError(problem)
        return RingFlash(rp2.Flash(start=start, len=size))

    def unique_id(self) -> str:
        """Sixteen hex digits: the serial number of the flash chip (RP2350: its own)."""
        return machine.unique_id().hex()

    def nonce(self) -> int:
        return int.from_bytes(os.urandom(4), "little")

    def set_led(self, on: bool) -> None:
        if on != self._led_on:  # on a Pico W each call goes to the radio's chip
            self._led_on = on
            self._led.value(on)

    def heap_free(self) -> int:
        """Free heap in bytes."""
        return gc.mem_free()

    def begin(self, device: str, start_us: int, describes: list) -> None:
        """Nothing to do; a simulated board opens its side file here."""

    def made(self, payload: bytes) -> None:
        """Nothing to do; a simulated board notes the item in its side file."""

    def close(self) -> None:
        """Ends sampling, interrupts and the watchdog; what the prompt finds is quiet."""
        self.watchdog.stop()
        if self._adc is not None:
            self._adc.close()
        if self._accelerometer is not None:
            self._accelerometer.close()
        if self._inputs is not None:
            self._inputs.close()
