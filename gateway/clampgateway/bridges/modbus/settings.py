"""The section [modbus]: where it listens, who may read, how numbers look, what may be written.

Owns the settings alone. Everything beyond reading on loopback is off until it is asked for.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from clampgateway.config.problems import Wrong, shown
from clampgateway.config.settings import LOOPBACK, BindAddress, ListenPort, Seconds, Settings

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def network(text: str) -> Network:
    """An address or a network as the allow-list has it. Raises ValueError."""
    return ipaddress.ip_network(text, strict=False)


def is_in(address: str, networks: Sequence[Network]) -> bool:
    """Whether a peer's address is in one of them; an IPv4 one may come as IPv6."""
    # An interface may follow a link-local address.
    parsed = ipaddress.ip_address(address.partition("%")[0])
    mapped = getattr(parsed, "ipv4_mapped", None)
    return any((mapped or parsed) in network for network in networks)


def _network_text(text: str) -> str:
    try:
        return str(network(text))
    except ValueError:
        raise Wrong(
            f"is {shown(text)}, must be an address or a network",
            '"192.168.1.20" for one client, "192.168.1.0/24" for a network',
        ) from None


class RtuSettings(Settings):
    """[modbus.rtu]: the same units on a serial line."""

    port: Annotated[str, Field(min_length=1, description="device file of the serial line")]
    baud: Literal[1200, 2400, 4800, 9600, 19200, 38400, 57600, 115200, 230400] = 19200
    parity: Literal["none", "even", "odd"] = "even"
    stop_bits: Literal[1, 2] = 1


class ModbusSettings(Settings):
    bind: BindAddress = LOOPBACK
    port: ListenPort = 1502
    allow: tuple[Annotated[str, AfterValidator(_network_text)], ...] = Field(
        default=(), description="addresses and networks that may connect; all unless given"
    )
    stale_after_s: Annotated[
        Seconds, Field(description="age of a record above which its values are withheld")
    ] = 5.0
    word_order: Literal["ABCD", "CDAB", "BADC", "DCBA"] = Field(
        default="ABCD", description="bytes of numbers of two and four registers, A the highest"
    )
    mirror_to_holding: bool = Field(
        default=True, description="function 03 reads the same map as 04, not the commands alone"
    )
    writable: tuple[Literal["identify", "reset_counters"], ...] = Field(
        default=(), description="what masters may write, with functions 05, 06, 15 and 16"
    )
    max_connections: Annotated[int, Field(ge=1, le=2000)] = 32
    max_per_client: Annotated[
        int, Field(ge=1, le=2000, description="connections from one address")
    ] = 8
    idle_s: Annotated[
        Seconds, Field(description="a client that asks nothing for so long is closed")
    ] = 60.0
    request_s: Annotated[Seconds, Field(description="time for a request to be complete")] = 5.0
    rtu: RtuSettings | None = Field(default=None, description="a serial line beside TCP")
