"""What a session is told and what it tells: brokers, wills, messages, errors, counters."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from clampgateway.model import GatewayError

# PUBACK reason codes: from REFUSED on the broker did not take the message.
REFUSED = 0x80
NO_SUBSCRIBERS = 0x10
# What is said of a message that is above the broker's Maximum Packet Size, without sending it.
PACKET_TOO_LARGE = 0x95


class SessionLost(GatewayError):
    """The connection to the broker is gone, or was not made; the text says why."""


class TooLarge(GatewayError):
    """A packet is larger than the broker takes. The connection is as before.

    Attributes:
        size: The packet's bytes.
        limit: The broker's Maximum Packet Size, or what it was found to be, in bytes.
    """

    def __init__(self, size: int, limit: int) -> None:
        super().__init__(f"a packet of {size} bytes is above the broker's limit of {limit} bytes")
        self.size = size
        self.limit = limit


@dataclass(frozen=True, slots=True)
class Tls:
    """How a connection is encrypted. The broker's certificate and host name are always verified.

    Attributes:
        ca: PEM file of the authorities to believe; None for the system's.
        cert: PEM file of our certificate, if the broker asks for one.
        key: PEM file of its key; None if it is in `cert`.
    """

    ca: Path | None = None
    cert: Path | None = None
    key: Path | None = None


@dataclass(frozen=True, slots=True)
class Broker:
    """Where and as whom to connect. `protocol` is "5" or "3.1.1"; `tls` None means plain text."""

    host: str
    port: int
    client_id: str
    protocol: str = "5"
    username: str | None = None
    password: str | None = None
    keepalive_s: int = 30
    window: int = 20
    backoff_max_s: float = 30.0
    tls: Tls | None = None

    @property
    def name(self) -> str:
        """`host:port`."""
        return f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Will:
    """What the broker publishes, retained at QoS 1, when the connection ends without farewell."""

    topic: str
    payload: bytes


class Message(NamedTuple):
    """A message that came for a subscription.

    Attributes:
        payload: At most `inbox.PAYLOAD_MAX` bytes of it.
        retain: It was kept by the broker and is of unknown age.
        duplicate: The broker says that it may have sent it before.
        response_topic: Where an answer is wanted; None if nowhere, and always on 3.1.1.
        correlation: What the answer must carry; None if nothing.
        cut: Bytes of the payload that are missing because it was too large.
    """

    topic: str
    payload: bytes
    retain: bool = False
    duplicate: bool = False
    response_topic: str | None = None
    correlation: bytes | None = None
    cut: int = 0


@dataclass(slots=True)
class Tally:
    """Counters of a session over all its connections.

    Attributes:
        losses: Connections that ended by themselves.
        throttled: Losses and failures with which the broker said that it is too much.
        no_subscribers: Of `acked`, messages that nobody has subscribed to.
        stray: Answers to what was not asked.
        received: Messages that came and were given to their handler.
        oversize: Messages that came and were cut or thrown away for their size.
        overrun: Messages thrown away because too many waited.
        answers_dropped: Answers thrown away because too many waited, or for their size.
    """

    connects: int = 0
    failures: int = 0
    losses: int = 0
    taken_over: int = 0
    throttled: int = 0
    sent: int = 0
    acked: int = 0
    refused: int = 0
    no_subscribers: int = 0
    too_large: int = 0
    stray: int = 0
    received: int = 0
    oversize: int = 0
    overrun: int = 0
    answers_dropped: int = 0

    def answered(self, code: int) -> None:
        if code >= REFUSED:
            self.refused += 1
        else:
            self.acked += 1
            self.no_subscribers += code == NO_SUBSCRIBERS
