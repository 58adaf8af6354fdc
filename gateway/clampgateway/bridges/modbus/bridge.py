"""The Modbus bridge: gives devices their units and channels their slots, and serves them.

Owns the settings, the tasks and the numbers that operators see. It has no cursor: a master reads
what is there now.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from dataclasses import asdict
from functools import partial

from clampgateway.bridges import BridgeError
from clampgateway.bridges.modbus.commands import Commands
from clampgateway.bridges.modbus.line import RtuLine
from clampgateway.bridges.modbus.server import Limits, ModbusServer
from clampgateway.bridges.modbus.settings import ModbusSettings, network
from clampgateway.bridges.modbus.units import DeviceUnit, gateway_image
from clampgateway.devices import Device
from clampgateway.feed import BridgeContext
from clampgateway.model import Channel, Description, GatewayError
from clampgateway.registers import schema
from clampgateway.registers.mbap import Answer, Shortcut
from clampgateway.registers.pdu import READ_HOLDING, READ_INPUT, pdu
from clampgateway.registers.rtu import Slave
from clampgateway.registers.unitimage import Style, UnitImage
from clampgateway.store import NumbersExhaustedError

_log = logging.getLogger(__name__)

UNITS = "modbus_unit"
RENEW_S = 1.0
RETRY_S = 10.0
# Unit ids that masters use for "the server itself" on TCP.
# Ref: MODBUS Messaging on TCP/IP Implementation Guide V1.0b, section 4.4.2: 0xFF, and 0 also.
GATEWAY_ALIASES = (0, 255)


class ModbusBridge:
    """One listener with up to 246 devices."""

    Settings = ModbusSettings

    def __init__(self, settings: ModbusSettings, context: BridgeContext) -> None:
        self._settings = settings
        self._context = context
        self._style = Style(
            settings.stale_after_s,
            context.mono,
            settings.word_order,
            settings.mirror_to_holding,
        )
        # A unit that changed is out of it until it is asked for.
        self._shortcut = Shortcut(context.mono)
        self._functions = (READ_HOLDING, READ_INPUT) if self._style.mirror else (READ_INPUT,)
        self._units: dict[int, DeviceUnit] = {}
        self._by_device: dict[str, DeviceUnit] = {}
        self._homeless: set[str] = set()
        self._to_describe: set[str] = set()
        self._wake = asyncio.Event()
        self._started_s = context.mono()
        self._renewals = 0
        limits = Limits(
            settings.max_connections,
            settings.idle_s,
            settings.request_s,
            settings.max_per_client,
            [network(each) for each in settings.allow],
        )
        self._commands = Commands(settings.writable, self._units.get, self._reset, context.command)
        write = self._commands.write if settings.writable else None
        answer = partial(pdu, self._lookup, write=write)
        self._server = ModbusServer(answer, self._shortcut, limits)
        self._line = self._made_line(answer)
        self._resets = 0
        self._zero = (0, 0)  # requests and exceptions at the last reset
        self._renew()
        self.unplaced = 0
        self.port = 0

    async def run(self) -> None:
        """Serves until cancelled. Raises BridgeError if the address cannot be listened on."""
        bind, port = self._settings.bind, self._settings.port
        unwatch = self._context.devices.watch(self._on_change)
        try:
            self._to_describe.update(device.key for device in self._context.devices)
            self._keep_reserved()
            await self._describe_all()
            try:
                self.port = await self._server.start(bind, port)
            except OSError as error:
                raise BridgeError(
                    f"Modbus cannot listen on {bind}:{port}: {error.strerror or error}; "
                    "choose another port, or allow this one (ports below 1024 need "
                    "CAP_NET_BIND_SERVICE)"
                ) from error
            _log.info("serving bind=%s port=%d units=%d", bind, self.port, len(self._units))
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._server.run(), name="modbus connections")
                tasks.create_task(self._keep_described(), name="modbus descriptions")
                tasks.create_task(self._keep_renewed(), name="modbus gateway unit")
                if self._line is not None:
                    tasks.create_task(self._line.run(), name="modbus line")
        finally:
            unwatch()
            self._server.close()
            self.port = 0

    def stats(self) -> dict[str, int]:
        """Counters since the start; `unplaced`: devices, channels and features without a place."""
        return {
            "port": self.port,
            "units": len(self._units),
            "unplaced": self.unplaced,
            "connections": self._server.connections,
            **asdict(self._server.counters),
            "written": self._commands.written,
            "write_refused": self._commands.refused,
            "write_failed": self._commands.failed,
            **(self._line.stats() if self._line is not None else {}),
        }

    def _made_line(self, answer: Answer) -> RtuLine | None:
        settings = self._settings.rtu
        if settings is None:
            return None
        return RtuLine(settings, Slave(answer, self._is_ours, settings.baud))

    def _is_ours(self, unit: int) -> bool:
        return unit in self._units or unit == schema.GATEWAY_UNIT

    def _lookup(self, unit: int) -> UnitImage | None:
        found = self._units.get(unit)
        if found is not None:
            self._shortcut.show(unit, self._functions, found.image)
            return found.image
        if unit == schema.GATEWAY_UNIT or unit in GATEWAY_ALIASES:
            return self._gateway
        return None

    def _hide(self, unit: int) -> None:
        self._shortcut.hide(unit, self._functions)

    def _keep_reserved(self) -> None:
        """Units of devices that were removed: never another's, so they are served without one."""
        numbers = self._context.assigned(UNITS, "")
        for key in self._context.removals:
            if key in numbers and key not in self._by_device:
                self._serve(self._made_unit(numbers[key], Device(key))).vacate()

    def _made_unit(self, number: int, device: Device) -> DeviceUnit:
        return DeviceUnit(number, device, self._style, self._context.utc_ms, self._hide)

    def _serve(self, unit: DeviceUnit) -> DeviceUnit:
        self._by_device[unit.device.key] = self._units[unit.number] = unit
        return unit

    def _on_change(self, device: Device, what: str) -> None:
        unit = self._by_device.get(device.key)
        if what == "removed":
            if unit is not None:
                unit.vacate()
            return
        if unit is not None:
            if unit.device is not device:
                unit.occupy(device)
            unit.changed(what)
        if unit is None or what in ("identity", "description"):
            self._to_describe.add(device.key)
            self._wake.set()

    async def _keep_described(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            try:
                await self._describe_all()
            except GatewayError as error:
                # The store is another part; its trouble is shown there. Slots can wait.
                _log.error("units and slots are not given yet: %s", error)
                await asyncio.sleep(RETRY_S)
                self._wake.set()

    async def _describe_all(self) -> None:
        while self._to_describe:
            key = min(self._to_describe)
            self._to_describe.discard(key)
            device = self._context.devices.get(key)
            if device is None or key in self._homeless:
                continue
            try:
                await self._describe(device)
            except GatewayError:
                self._to_describe.add(key)
                raise

    async def _describe(self, device: Device) -> None:
        """Takes over identity and description. A unit is served from when it is complete."""
        unit = self._by_device.get(device.key)
        if unit is None:
            numbers = await self._places(
                UNITS, "", [device.key], schema.FIRST_UNIT, schema.LAST_UNIT
            )
            if not numbers:
                self._homeless.add(device.key)
                return
            unit = self._made_unit(numbers[device.key], device)
        elif unit.device is not device:
            unit.occupy(device)
        description = device.description
        if description is not None:
            places = await self._slots(description)
            if unit.device is device:
                unit.describe(*places)
        if device.key not in self._by_device:
            self._serve(unit).changed("reading")
            if self._context.devices.get(device.key) is not device:
                unit.vacate()  # it was removed meanwhile

    async def _slots(
        self, description: Description
    ) -> tuple[list[tuple[int, Channel]], dict[tuple[str, str], int]]:
        """Slots of all channels, and places of the features that no layout has."""
        device = description.device
        keys = [channel.key for channel in description.channels]
        given = await self._places("modbus_slot", device, keys, 1, schema.SLOTS)
        places: dict[tuple[str, str], int] = {}
        for channel in description.channels:
            if schema.quantity_named(channel.quantity) is schema.OTHER:
                found = await self._places(
                    "modbus_place",
                    f"{device}/{channel.key}",
                    [feature.key for feature in channel.features],
                    0,
                    schema.FEATURES - 1,
                )
                places.update({(channel.key, key): place for key, place in found.items()})
        channels = description.channels
        return [(given[each.key], each) for each in channels if each.key in given], places

    async def _places(
        self, table: str, scope: str, keys: Iterable[str], lowest: int, highest: int
    ) -> dict[str, int]:
        """A number of its own for each key, as the store has it; those that are left over lack."""
        found: dict[str, int] = {}
        for key in keys:
            try:
                found[key] = await self._context.assign(table, scope, key, lowest, highest)
            except NumbersExhaustedError as error:
                self.unplaced += 1
                _log.error("no room in the register map: %s", error)
        return found

    async def _keep_renewed(self) -> None:
        while True:
            self._renew()
            await asyncio.sleep(RENEW_S)

    def _reset(self) -> None:
        counters = self._server.counters
        self._zero = (counters.requests, counters.exceptions)
        self._resets += 1
        self._renew()

    def _renew(self) -> None:
        """Makes the gateway's own unit anew."""
        self._renewals += 1
        requests, exceptions = self._zero
        counters = self._server.counters
        units = list(self._units.values())
        values: dict[str, float | str] = {
            "heartbeat": self._renewals & 0xFFFF,
            "devices": len(units),
            "devices_online": sum(unit.device.online for unit in units),
            "connections": self._server.connections,
            "requests": counters.requests - requests,
            "exceptions": counters.exceptions - exceptions,
            "reset_counters": self._resets & 0xFFFF,
            "uptime_s": int(self._context.mono() - self._started_s),
            "gateway": self._context.gateway_id,
            "site": self._context.site,
        }
        self._gateway = gateway_image(values, units, self._style, self._context.utc_ms())
        for unit in (schema.GATEWAY_UNIT, *GATEWAY_ALIASES):
            self._shortcut.show(unit, self._functions, self._gateway)
