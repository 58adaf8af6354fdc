"""A lasting connection to an MQTT broker, with acknowledgements that mean something."""

from clampgateway.mqttsession.session import Connection, MqttSession
from clampgateway.mqttsession.values import REFUSED, Broker, SessionLost, Will

__all__ = ["REFUSED", "Broker", "Connection", "MqttSession", "SessionLost", "Will"]
