"""Southbound Modbus: existing meters become devices. See docs/meters.md."""

from clampgateway.sources.modbus_meter.source import ModbusMeterSource

__all__ = ["ModbusMeterSource"]
