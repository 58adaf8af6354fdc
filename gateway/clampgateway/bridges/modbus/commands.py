"""What a master may write: identify, and the reset of counters, as far as the settings list them.

Owns which addresses these are, the exception codes, and the command on its way to a device. A
write is acknowledged when it is accepted; what became of it is told by the register.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from typing import Any

from clampgateway.bridges.modbus.units import DeviceUnit
from clampgateway.model import GatewayError
from clampgateway.registers import image, schema
from clampgateway.registers.identity import ILLEGAL_ADDRESS, ILLEGAL_VALUE
from clampgateway.registers.pdu import TARGET_FAILED

_log = logging.getLogger(__name__)

# Section 7: "The server is engaged in processing a long-duration program command."
BUSY = 0x06
IDENTIFY, RESET = "identify", "reset_counters"
# Device, name and arguments of a command to what it answers; raises GatewayError.
Command = Callable[[str, str, Mapping[str, Any]], Awaitable[Any]]


def _by_address(coils: bool, registers: Sequence[schema.Register]) -> dict[int, str]:
    if coils:
        return {bit.offset: bit.name for bit in schema.COILS}
    commands = range(schema.COMMANDS_AT, schema.COMMANDS_END)
    return {each.offset: each.name for each in registers if each.offset in commands}


# By (whether coils, whether the gateway's own unit); the gateway cannot show which it is.
_NAMES = {
    (False, False): _by_address(False, schema.HEADER),
    (True, False): _by_address(True, ()),
    (False, True): _by_address(False, schema.GATEWAY),
    (True, True): {bit.offset: bit.name for bit in schema.COILS if bit.name != IDENTIFY},
}


class Commands:
    """Does what is written.

    Args:
        writable: The names that may be written.
        unit_of: Unit id to the device there; None for the gateway's own.
        reset_gateway: Lets the gateway's counters begin at 0.
        command: Gives a device a command; None if the gateway has no way to.
    """

    def __init__(
        self,
        writable: Collection[str],
        unit_of: Callable[[int], DeviceUnit | None],
        reset_gateway: Callable[[], None],
        command: Command | None,
    ) -> None:
        self._writable = frozenset(writable)
        self._unit_of = unit_of
        self._reset_gateway = reset_gateway
        self._command = command
        self._under_way: set[asyncio.Task[None]] = set()
        self.written = 0
        self.refused = 0
        self.failed = 0

    def write(self, unit: int, coils: bool, first: int, values: Sequence[int]) -> int:
        """See pdu.Write: all values are checked before the first is acted upon."""
        code = self._write(unit, coils, first, values)
        if code:
            self.refused += 1
        else:
            self.written += 1
        return code

    def _write(self, unit: int, coils: bool, first: int, values: Sequence[int]) -> int:
        device = self._unit_of(unit)
        names = _NAMES[coils, device is None]
        wanted: list[str] = []
        for address, value in enumerate(values, first):
            name = names.get(address)
            if name not in self._writable:
                return ILLEGAL_ADDRESS
            if value not in (0, 1):
                return ILLEGAL_VALUE
            if value:  # a master that writes 1 and then 0 again means one deed
                wanted.append(name)
        if device is None:
            if wanted:
                self._reset_gateway()
            return 0
        if IDENTIFY in wanted:
            if self._command is None or not device.device.online:
                return TARGET_FAILED
            if device.identify == image.UNDER_WAY:
                return BUSY
            self._start(device, self._command)
        if RESET in wanted:
            device.reset()
        return 0

    def _start(self, unit: DeviceUnit, command: Command) -> None:
        unit.show_identify(image.UNDER_WAY)
        task = asyncio.get_running_loop().create_task(
            self._identify(unit, command), name=f"modbus identify {unit.number}"
        )
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)

    async def _identify(self, unit: DeviceUnit, command: Command) -> None:
        key = unit.device.key
        try:
            answer = await command(key, IDENTIFY, {})
        except GatewayError as error:
            said = str(error)
        else:
            said = "" if answer.status == "ok" else str(answer.body.get("error", answer.status))
        if said:
            self.failed += 1
            _log.warning("device=%s did not identify itself: %s", key, said)
        unit.show_identify(image.FAILED if said else image.DONE)
