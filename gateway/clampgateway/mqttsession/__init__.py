"""A lasting connection to an MQTT broker, with acknowledgements that mean something."""

from clampgateway.mqttsession.connection import Connection
from clampgateway.mqttsession.session import MqttSession
from clampgateway.mqttsession.values import (
    PACKET_TOO_LARGE,
    REFUSED,
    Broker,
    Message,
    SessionLost,
    Tally,
    Tls,
    TooLarge,
    Will,
)

__all__ = [
    "PACKET_TOO_LARGE",
    "REFUSED",
    "Broker",
    "Connection",
    "Message",
    "MqttSession",
    "SessionLost",
    "Tally",
    "Tls",
    "TooLarge",
    "Will",
]
