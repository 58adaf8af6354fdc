"""Modbus TCP: one unit a device, unit 247 for the gateway. `docs/registers.md` has the map."""

from clampgateway.bridges.modbus.bridge import ModbusBridge
from clampgateway.bridges.modbus.settings import ModbusSettings

__all__ = ["ModbusBridge", "ModbusSettings"]
