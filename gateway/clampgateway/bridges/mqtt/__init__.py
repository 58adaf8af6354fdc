"""MQTT with JSON: `docs/topics.md` has the topics and payloads."""

from clampgateway.bridges.mqtt.bridge import MqttBridge
from clampgateway.bridges.mqtt.settings import MqttSettings

__all__ = ["MqttBridge", "MqttSettings"]
