"""Removing a device: what has to be so before it, and what is known of it until it comes back.

Owns the order of a removal, so that no record of the device is lost and none brings it back: its
link is gone, all it sent is committed, the removal is durable, and only then the registry forgets
the device and bridges are told. A bridge that keeps something for others (retained topics) looks
here for what it has to carry out, also after a restart, and says when it has. docs/removal.md
says what becomes of what.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator, Mapping
from functools import partial

from clampgateway.committer import Committer
from clampgateway.devices import Device, Devices
from clampgateway.model import GatewayError
from clampgateway.store import Removal, Store, StoreError, StoreThread

_log = logging.getLogger(__name__)

# So long the device's last items may take to be committed, and the removal itself.
COMMIT_S = 8.0


class UnknownDeviceError(GatewayError):
    """There is no such device."""


class StillConnectedError(GatewayError):
    """The device has a link; the text says where, and that it is to be unplugged."""


class Removals:
    """The devices that are removed; `in` and iteration are over their keys.

    Made before anything watches `devices`: those that were removed before the start leave it here.
    `connected_at(key)` says over which port or address a device has a link now, "" without one.
    """

    def __init__(
        self,
        store: Store,
        thread: StoreThread,
        committer: Committer,
        devices: Devices,
        connected_at: Callable[[str], str],
    ) -> None:
        self._store = store
        self._thread = thread
        self._committer = committer
        self._devices = devices
        self._connected_at = connected_at
        self._removed: dict[str, Removal] = store.removals()
        self._one_at_a_time = asyncio.Lock()
        self.removed = self.returned = 0
        for key in self._removed:
            devices.remove(key)
        devices.watch(self._on_change)

    def __contains__(self, key: object) -> bool:
        return key in self._removed

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._removed))

    # --- for the API ----------------------------------------------------------------------------

    async def remove(self, key: str) -> None:
        """Remove a device; durable when this returns.

        Raises UnknownDeviceError, StillConnectedError, or StoreError: then it is there as before.
        """
        async with self._one_at_a_time:
            self._check(key)
            try:
                async with asyncio.timeout(COMMIT_S):
                    await self._committer.settled()
                    removal = await self._thread.remove(key)
            except TimeoutError:
                # Whether it was written or not: it is there.
                self._committer.note(partial(self._store.take_back, key))
                raise StoreError(
                    f"device {key} is not removed: nothing can be committed now: "
                    f"{self._committer.alarm or 'the store is busy'}"
                ) from None
            try:
                self._check(key)
            except GatewayError:
                self._committer.note(partial(self._store.take_back, key))
                raise
            self._removed[key] = removal
            self.removed += 1
            self._devices.remove(key)
        _log.info("device is removed device=%s", key)

    def _check(self, key: str) -> None:
        place = self._connected_at(key)
        if place:
            raise StillConnectedError(
                f"device {key} is connected at {place}: unplug it first, then remove it"
            )
        if self._devices.get(key) is None:
            done = " any more: it was removed" if key in self._removed else ""
            raise UnknownDeviceError(f"there is no device {key!r}{done}")

    # --- for bridges ----------------------------------------------------------------------------

    def waiting(self, bridge: str) -> Mapping[str, int]:
        """What `bridge` has not carried out: by device, the id up to which its items reach."""
        return {
            key: removal.up_to_id
            for key, removal in self._removed.items()
            if bridge not in removal.told
        }

    def carried_out(self, key: str, bridge: str) -> None:
        """Nothing that `bridge` keeps for others tells of this device any more."""
        removal = self._removed.get(key)
        if removal is None or bridge in removal.told:
            return
        self._removed[key] = removal._replace(told=removal.told | {bridge})
        self._committer.note(partial(self._store.removal_told, key, bridge))
        _log.info("a removal is carried out device=%s bridge=%s", key, bridge)

    # --- when one comes back --------------------------------------------------------------------

    def _on_change(self, device: Device, what: str) -> None:
        if what != "added" or self._removed.pop(device.key, None) is None:
            return
        self.returned += 1
        # Before any of its items is committed, so that a kill leaves no removed device with some.
        self._committer.note(partial(self._store.take_back, device.key))
        _log.info("a device that was removed is back device=%s", device.key)

    def stats(self) -> dict[str, int]:
        """How many are removed now; removals and returns since the start."""
        return {
            "devices": len(self._removed),
            "removed": self.removed,
            "returned": self.returned,
        }
