"""What a session is told and what it tells, without any MQTT library."""

from __future__ import annotations

from dataclasses import dataclass

from clampgateway.model import GatewayError

# PUBACK reason codes: from REFUSED on the broker did not take the message.
REFUSED = 0x80
NO_SUBSCRIBERS = 0x10


class SessionLost(GatewayError):
    """The connection to the broker is gone, or was not made; the text says why."""


@dataclass(frozen=True, slots=True)
class Broker:
    """Where and as whom to connect. `protocol` is "5" or "3.1.1"."""

    host: str
    port: int
    client_id: str
    protocol: str = "5"
    username: str | None = None
    password: str | None = None
    keepalive_s: int = 30
    window: int = 20
    backoff_max_s: float = 30.0


@dataclass(frozen=True, slots=True)
class Will:
    """What the broker publishes, retained at QoS 1, when the connection ends without farewell."""

    topic: str
    payload: bytes


@dataclass(slots=True)
class Tally:
    """Counters of a session over all its connections."""

    connects: int = 0
    failures: int = 0
    losses: int = 0
    taken_over: int = 0
    sent: int = 0
    acked: int = 0
    refused: int = 0
    no_subscribers: int = 0

    def answered(self, code: int) -> None:
        if code >= REFUSED:
            self.refused += 1
        else:
            self.acked += 1
            self.no_subscribers += code == NO_SUBSCRIBERS
