"""The section [mqtt] of the configuration, and the brokers that it names."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from clampgateway import topics
from clampgateway.config import Wrong
from clampgateway.config.settings import LOOPBACK, Port, ReadableFile, SecretFile, Settings
from clampgateway.mqttsession import Broker, Tls

# The broker's default port of MQTT over TLS and of plain MQTT.
TLS_PORT, PLAIN_PORT = 8883, 1883
_PORT_MAX = 65535


def _root(text: str) -> str:
    if not topics.is_root(text):
        raise Wrong(f"is {text!r}, must be a topic without + and #", 'for example "clampwork"')
    return text


def _address(text: str) -> str:
    host, port = _split(text)
    if not host or any(char.isspace() or char == "/" for char in host) or port is None:
        raise Wrong(
            f"is {text!r}, must be a host or host:port", 'for example "10.0.0.6:8883", no mqtt://'
        )
    return text


def _split(text: str) -> tuple[str, int | None]:
    """(host, port, 0 for the usual one, None for a wrong one)."""
    host, colon, port = text.rpartition(":")
    if not colon or text.endswith("]"):
        return text.strip("[]"), 0
    if not (port.isascii() and port.isdigit() and 0 < int(port) <= _PORT_MAX):
        return host, None
    return host.strip("[]"), int(port)


Address = Annotated[str, AfterValidator(_address)]
Command = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,31}$")]


class MqttSettings(Settings):
    host: str = LOOPBACK
    port: Annotated[Port | None, Field(description="1883, or 8883 with tls, unless given")] = None
    fallbacks: Annotated[
        tuple[Address, ...],
        Field(description="further brokers, host or host:port, tried in order after the first"),
    ] = ()
    protocol: Annotated[
        Literal["5", "3.1.1"],
        Field(description="3.1.1 cannot tell a message that was refused from one that was taken"),
    ] = "5"
    root: Annotated[str, AfterValidator(_root)] = "clampwork"
    client_id: Annotated[str | None, Field(description="clampwork-<gateway id> unless given")] = (
        None
    )
    username: str | None = None
    password_file: SecretFile | None = None
    tls: Annotated[
        bool, Field(description="encrypt; the broker's certificate and name are verified")
    ] = False
    ca_file: Annotated[
        ReadableFile | None, Field(description="PEM of the authorities; the system's unless given")
    ] = None
    cert_file: ReadableFile | None = None
    key_file: SecretFile | None = None
    keepalive_s: Annotated[int, Field(ge=5, le=3600)] = 30
    window: Annotated[int, Field(ge=1, le=1000, description="messages in flight")] = 100
    history_records_per_s: Annotated[
        int, Field(ge=1, le=1_000_000, description="most that the lane of old records publishes")
    ] = 20_000
    history_bytes: Annotated[
        int, Field(ge=1024, le=1 << 20, description="most of one array of old records")
    ] = 1 << 16
    allow_commands: Annotated[
        tuple[Command, ...],
        Field(description='commands that may come by MQTT, each by name; "replay" always may'),
    ] = ()

    @model_validator(mode="after")
    def _consistent(self) -> MqttSettings:
        files = {name: getattr(self, name) for name in ("ca_file", "cert_file", "key_file")}
        given = [name for name, path in files.items() if path is not None]
        if given and not self.tls:
            raise Wrong(f"{given[0]} is set without tls", "set tls = true")
        if self.key_file is not None and self.cert_file is None:
            raise Wrong("key_file is set without cert_file", "set cert_file to its certificate")
        if self.password_file is not None and self.username is None:
            raise Wrong("password_file is set without username", "set username")
        return self

    def brokers(self, gateway_id: str) -> list[Broker]:
        """Where to connect, in order."""
        tls = Tls(self.ca_file, self.cert_file, self.key_file) if self.tls else None
        usual = TLS_PORT if self.tls else PLAIN_PORT
        password = self.password_file
        places = [(self.host, self.port or usual)]
        for text in self.fallbacks:
            host, port = _split(text)
            places.append((host, port or usual))
        return [
            Broker(
                host,
                port,
                self.client_id or f"clampwork-{gateway_id}",
                self.protocol,
                self.username,
                password.read_text().rstrip("\r\n") if password is not None else None,
                self.keepalive_s,
                self.window,
                tls=tls,
            )
            for host, port in places
        ]
