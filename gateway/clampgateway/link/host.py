"""What one link's session needs to know of all the others: an interface, filled by `Links`."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from clampgateway.clocksync import Fits
from clampgateway.descriptions import Descriptions
from clampgateway.devices import Devices

if TYPE_CHECKING:
    from clampgateway.link.session import LinkSession


class Host(Protocol):
    """What a session needs to know of all the others; `Links` is one."""

    gateway_id: str
    utc_ms: Callable[[], int]
    era: Callable[[], int]
    devices: Devices
    descriptions: Descriptions

    def claim(self, session: LinkSession) -> str:
        """Ask for the device id of `session`; returns why not, or an empty string."""
        ...

    def room_problem(self, device: str) -> str:
        """Why there is no room for one more device, or an empty string."""
        ...

    def release(self, session: LinkSession) -> None:
        """The session no longer speaks for its device id."""
        ...

    def highest_boot(self, device: str) -> int:
        """The highest boot number that items of this device have had, 0 for none."""
        ...

    def saw_boot(self, device: str, boot: int) -> None:
        """Items of this boot number have come."""
        ...

    def fits(self, device: str) -> Fits:
        """The clocks of this device's power-ups so far."""
        ...
