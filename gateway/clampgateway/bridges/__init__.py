"""Northbound protocols. A bridge is one file here and one line in BRIDGES.

A bridge class has `Settings` (a pydantic model that forbids unknown keys; its section of the
configuration has the bridge's name), takes `(settings, context)`, and has `async run()`, which
serves until it is cancelled, and `stats()`, its counters. It knows no other bridge.
"""

from clampgateway.model import GatewayError

BRIDGES = {
    "mqtt": "clampgateway.bridges.mqtt:MqttBridge",
    "modbus": "clampgateway.bridges.modbus:ModbusBridge",
}


class BridgeError(GatewayError):
    """A bridge cannot go on for a reason outside of it; starting it again later may help."""
