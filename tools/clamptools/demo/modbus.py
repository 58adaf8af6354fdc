"""A Modbus client that reads the gateway as a PLC would, and later judges what it read.

Owns the pymodbus client of the demo: test patterns of every unit, then each channel's slot in one
request, so that values, boot and seq belong together. A slot is compared with the MQTT record of
the same (boot, seq), number by number as float32.
"""

from __future__ import annotations

import asyncio
import math
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from pymodbus import ModbusException
from pymodbus.client import AsyncModbusTcpClient

from clampgateway.registers import schema
from clamptools.demo.account import Key, Received

TIMEOUT_S = 3.0
# Header and text of a unit, in requests of at most 125 registers.
_TESTS_SIZE = 12
_SLOT_SIZE = schema.KEY_AT + 8
_GOOD = next(code for code, word in schema.QUALITIES if word == "good")
_TEST_WORDS = struct.pack(
    ">HHfIhHQ",
    schema.MAP_ID,
    schema.MAP_VERSION,
    schema.TEST_FLOAT,
    schema.TEST_UINT32,
    schema.TEST_INT16,
    0,
    schema.TEST_UINT64,
)
_UNIT_KIND_AT = 2 * 7


class SlotRead(NamedTuple):
    """One channel as a client saw it in one request."""

    device: str
    channel: str
    quantity: int
    quality: int
    boot: int
    seq: int
    floats: tuple[float, ...]


@dataclass
class ModbusLog:
    """What a client saw: number of requests, what was wrong at once, and every slot; `excused`
    counts rounds in which the gateway was known to be away.
    """

    reads: int = 0
    excused: int = 0
    mismatches: list[str] = field(default_factory=list)
    slots: list[SlotRead] = field(default_factory=list)

    def judge(self, received: Mapping[Key, Received]) -> list[str]:
        """All mismatches: those found while reading, and slots that differ from their record."""
        found = list(self.mismatches)
        for slot in self.slots:
            found += _compare(slot, received)
        return found

    def unknown(self, received: Mapping[Key, Received]) -> bool:
        """Whether a good slot shows a record that has not come by MQTT."""
        return any(
            Key(slot.device, slot.boot, slot.seq) not in received
            for slot in self.slots
            if slot.quality == _GOOD
        )

    @property
    def compared(self) -> int:
        """Slots with a good record, whose numbers `judge` compares."""
        return sum(slot.quality == _GOOD for slot in self.slots)


class ModbusReader:
    """Reads all units again and again and writes the log. To be made in a running loop.

    `excused` says whether a gateway that does not answer is no mismatch now.
    """

    def __init__(self, host: str, port: int, excused: Callable[[], bool] = lambda: False) -> None:
        self._excused = excused
        self._client = AsyncModbusTcpClient(host, port=port, timeout=TIMEOUT_S, reconnect_delay=0)
        self.log = ModbusLog()

    async def poll(self) -> None:
        """One round over the gateway's unit and every device's."""
        try:
            if not self._client.connected and not await self._client.connect():
                self._failed("the Modbus port does not accept a connection")
                return
            await self._check_tests(schema.GATEWAY_UNIT)
            for unit, device in await self._directory():
                await self._check_tests(unit)
                await self._read_slots(unit, device)
        except ModbusException as error:
            self._failed(f"Modbus request failed: {error}")

    def _failed(self, what: str) -> None:
        if self._excused():
            self.log.excused += 1
        else:
            self.log.mismatches.append(what)

    def close(self) -> None:
        self._client.close()

    async def _read(self, unit: int, address: int, count: int) -> bytes:
        """Registers as bytes, by FC 03 and FC 04 in turn. Raises ModbusException."""
        self.log.reads += 1
        read = self._client.read_holding_registers
        if self.log.reads % 2:
            read = self._client.read_input_registers
        response = await read(address, count=count, device_id=unit)
        if response.isError():
            raise ModbusException(f"unit {unit} address {address} count {count}: {response}")
        return struct.pack(f">{count}H", *response.registers)

    async def _check_tests(self, unit: int) -> None:
        words = bytearray(await self._read(unit, 0, _TESTS_SIZE))
        words[_UNIT_KIND_AT : _UNIT_KIND_AT + 2] = b"\0\0"
        if words != _TEST_WORDS:
            self.log.mismatches.append(f"unit {unit}: test patterns read {words.hex(' ', 2)}")

    async def _directory(self) -> list[tuple[int, str]]:
        """Unit and id of every device, from the gateway's own unit."""
        found: list[tuple[int, str]] = []
        header = await self._read(schema.GATEWAY_UNIT, 30, 4)
        devices = struct.unpack_from(">H", header, 2)[0]
        unit = schema.FIRST_UNIT
        while len(found) < devices and unit <= schema.LAST_UNIT:
            entry = await self._read(schema.GATEWAY_UNIT, schema.entry_address(unit), schema.ENTRY)
            if struct.unpack_from(">H", entry)[0] == unit:
                found.append((unit, _text(entry[2 * 8 : 2 * 24])))
            unit += 1
        return found

    async def _read_slots(self, unit: int, device: str) -> None:
        channels = struct.unpack(">H", await self._read(unit, 31, 1))[0]
        for slot in range(1, channels + 1):
            words = await self._read(unit, schema.slot_address(slot), _SLOT_SIZE)
            boot, seq = struct.unpack_from(">II", words, 2 * 18)
            self.log.slots.append(
                SlotRead(
                    device,
                    _text(words[2 * schema.KEY_AT :]),
                    struct.unpack_from(">H", words)[0],
                    struct.unpack_from(">H", words, 2 * 12)[0],
                    boot,
                    seq,
                    struct.unpack_from(f">{schema.FEATURES}f", words, 2 * schema.FLOATS_AT),
                )
            )


def _compare(slot: SlotRead, received: Mapping[Key, Received]) -> list[str]:
    where = f"{slot.device} {slot.channel} (boot {slot.boot}, seq {slot.seq})"
    if slot.quality != _GOOD:
        shown = [value for value in slot.floats if not math.isnan(value)]
        return [f"{where}: not good, but shows {shown}"] if shown else []
    got = received.get(Key(slot.device, slot.boot, slot.seq))
    if got is None:
        return [f"{where}: no such record came by MQTT"]
    features: dict[str, Any] = got.content["ch"].get(slot.channel, {})
    places = {
        feature.place: feature.key
        for quantity in schema.QUANTITIES
        if quantity.code == slot.quantity
        for feature in quantity.features
    }
    if slot.quantity == schema.OTHER.code:
        return []  # its places are given at first sight; the map alone does not tell them
    found: list[str] = []
    for place, value in enumerate(slot.floats):
        wanted = features.get(places.get(place, ""))
        if _as_float32(wanted) != struct.pack(">f", value):
            found.append(f"{where}: {places.get(place, place)} reads {value}, MQTT {wanted}")
    return found


def _as_float32(value: float | None) -> bytes:
    return struct.pack(">f", math.nan if value is None else value)


def _text(words: bytes) -> str:
    return words.rstrip(b"\0").decode("ascii", "replace")


async def poll_until(reader: ModbusReader, stop: asyncio.Event, period_s: float) -> None:
    """Polls until `stop` is set."""
    while not stop.is_set():
        await reader.poll()
        try:
            async with asyncio.timeout(period_s):
                await stop.wait()
        except TimeoutError:
            continue
