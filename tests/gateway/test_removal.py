"""Removing a device: what the store keeps of it, what has to be so before, and coming back."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from clampgateway.feed.lanes import Lanes
from clampgateway.feed.ranges import LIVE, RECORDS
from clampgateway.removals import StillConnectedError, UnknownDeviceError
from clampgateway.store import Removal, Store, StoreError
from support import readings
from support.bridging import record
from support.gateway_parts import GatewayParts, running, until
from support.readings import CURRENT

LATHE, SAW = "lathe", "saw"


def known(parts: GatewayParts, *devices: str) -> None:
    for device in devices:
        parts.describe(readings.description(device, (CURRENT,)), readings.identity(device))


def run(folder: Path, scenario: Callable[[GatewayParts], Awaitable[None]]) -> None:
    async def main() -> None:
        async with running(folder) as parts:
            known(parts, LATHE, SAW)
            await scenario(parts)

    asyncio.run(main())


# --- the store -----------------------------------------------------------------------------------


def test_a_removal_stays_until_the_device_is_back(tmp_path: Path) -> None:
    path = tmp_path / "items.db"
    store = Store(path)
    store.append([record(LATHE, seq) for seq in range(1, 4)], {})
    number = store.assign("modbus_unit", "", LATHE, 1, 246)
    assert store.remove(LATHE) == Removal(3)
    store.close()
    told: set[str] = set()
    for bridge in ("mqtt", "other"):
        store = Store(path)
        assert store.removals() == {LATHE: Removal(3, frozenset(told))}
        store.removal_told(LATHE, bridge)
        told.add(bridge)
        store.close()
    store = Store(path)
    # Nothing of it is lost or free for another.
    assert len(store.read_after(0, 10)) == 3
    assert store.highest_boots() == {LATHE: 17}
    assert store.assigned("modbus_unit", "") == {LATHE: number}
    assert store.assign("modbus_unit", "", SAW, 1, 246) != number
    store.take_back(LATHE)
    store.take_back(LATHE)
    store.removal_told(LATHE, "mqtt")  # of the removal that is no more
    store.close()
    store = Store(path)
    assert store.removals() == {}
    store.close()


def test_removals_survive_the_whole_store(tmp_path: Path) -> None:
    path = tmp_path / "items.db"
    store = Store(path)
    store.append([record(LATHE, 1), record(SAW, 1)], {})
    store.remove(LATHE)
    store.remove(SAW)
    store.removal_told(LATHE, "mqtt")
    store.take_back(SAW)
    store.close()
    path.unlink()
    for ending in ("-wal", "-shm"):
        path.with_name(path.name + ending).unlink(missing_ok=True)
    store = Store(path)
    assert store.removals() == {LATHE: Removal(2, frozenset({"mqtt"}))}
    store.close()


# --- what a bridge has delivered -----------------------------------------------------------------


def test_delivered_is_what_neither_waits_nor_has_no_answer() -> None:
    lanes = Lanes(0, 0, 0)
    assert not lanes.delivered(LATHE, 1), "live has not come to it"
    lanes.sent(1)
    lanes.sent(2)
    lanes.passed(3)
    assert not lanes.delivered(LATHE, 1), "no answer yet"
    lanes.answered(1)
    assert lanes.delivered(LATHE, 1)
    assert not lanes.delivered(LATHE, 2)
    lanes.lost()
    lanes.jump(10)
    assert not lanes.delivered(LATHE, 3), "the second, and 4 to 10, are backlog"
    lanes.backlog_done(2)
    assert lanes.delivered(LATHE, 3)
    lanes.backlog_done(10)
    lanes.ranges.put(LIVE, "", LATHE, RECORDS, 8)
    assert not lanes.delivered(LATHE, 10), "one is put aside until its turn"
    assert lanes.delivered(LATHE, 7)
    assert lanes.delivered(SAW, 10), "of another device"
    (aside,) = lanes.ranges
    lanes.ranges.refuse(aside, f"{LATHE}/data", 0x87)
    assert lanes.delivered(LATHE, 10), "the broker does not take it"
    lanes.ranges.reopen(f"{LATHE}/data")
    assert not lanes.delivered(LATHE, 10)
    lanes.ranges.mark(SAW, 9)
    assert not lanes.delivered(SAW, 10), "corrected times are to be told"


# --- the order of a removal ----------------------------------------------------------------------


def test_a_connected_and_an_unknown_device_are_refused(tmp_path: Path) -> None:
    async def scenario(parts: GatewayParts) -> None:
        parts.connected_at[LATHE] = "/dev/ttyACM0"
        with pytest.raises(StillConnectedError, match=r"at /dev/ttyACM0: unplug it first"):
            await parts.removals.remove(LATHE)
        with pytest.raises(UnknownDeviceError, match=r"no device 'mill'$"):
            await parts.removals.remove("mill")
        assert parts.devices.get(LATHE) is not None
        await parts.removals.remove(SAW)
        with pytest.raises(UnknownDeviceError, match=r"no device 'saw' any more: it was removed"):
            await parts.removals.remove(SAW)
        assert parts.removals.stats() == {"devices": 1, "removed": 1, "returned": 0}

    run(tmp_path, scenario)


def test_what_was_on_its_way_is_committed_before_and_brings_no_device_back(tmp_path: Path) -> None:
    async def scenario(parts: GatewayParts) -> None:
        changes: list[tuple[str, str]] = []
        parts.devices.watch(lambda device, what: changes.append((device.key, what)))
        for seq in range(1, 500):
            parts.committer.submit([record(LATHE, seq)], lambda _items: None)
        await parts.removals.remove(LATHE)
        assert parts.removals.waiting("mqtt") == {LATHE: 499}
        assert parts.store.last_id() == 499
        await asyncio.sleep(0.1)
        assert parts.devices.get(LATHE) is None
        assert changes[-1] == (LATHE, "removed")

    run(tmp_path, scenario)


def test_one_that_is_plugged_in_meanwhile_stays(tmp_path: Path) -> None:
    async def scenario(parts: GatewayParts) -> None:
        remove = parts.thread.remove

        async def plugged_in_meanwhile(device: str) -> Removal:
            removal = await remove(device)
            parts.connected_at[LATHE] = "/dev/ttyACM3"
            return removal

        parts.thread.remove = plugged_in_meanwhile
        with pytest.raises(StillConnectedError, match="ttyACM3"):
            await parts.removals.remove(LATHE)
        assert parts.devices.get(LATHE) is not None
        assert LATHE not in parts.removals
        await parts.flush()
        assert parts.store.removals() == {}

    run(tmp_path, scenario)


def test_a_store_that_cannot_commit_removes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("clampgateway.removals.COMMIT_S", 0.3)

    async def scenario(parts: GatewayParts) -> None:
        await parts.flush()
        append = parts.store.append

        def full(*_what: object) -> None:
            raise StoreError("the disk is full")

        parts.store.append = full  # type: ignore[method-assign, assignment]
        parts.committer.submit([record(LATHE, 1)], lambda _items: None)
        with pytest.raises(StoreError, match=r"not removed.*the disk is full"):
            await parts.removals.remove(LATHE)
        assert parts.devices.get(LATHE) is not None
        parts.store.append = append
        await until(lambda: not parts.committer.pending, "commits")
        await parts.removals.remove(LATHE)
        assert parts.devices.get(LATHE) is None

    run(tmp_path, scenario)


def test_it_is_back_at_first_sight_and_its_row_goes_before_its_items(tmp_path: Path) -> None:
    async def scenario(parts: GatewayParts) -> None:
        await parts.commit([record(LATHE, 1)])
        await parts.removals.remove(LATHE)
        known(parts, LATHE)
        entry = parts.devices.get(LATHE)
        assert entry is not None
        assert (entry.records, entry.reading, entry.state.state) == (0, None, "unknown")
        assert LATHE not in parts.removals
        await parts.commit([record(LATHE, 1), record(LATHE, 2)])
        assert parts.store.removals() == {}
        assert entry.records == 1, "the first one was here already"

    run(tmp_path, scenario)


def test_a_removal_by_hand_right_after_a_return_holds(tmp_path: Path) -> None:
    """What is noted of the return is written before the next removal, not after it."""

    async def scenario(parts: GatewayParts) -> None:
        for _ in range(3):
            await parts.removals.remove(LATHE)
            parts.removals.carried_out(LATHE, "mqtt")
            known(parts, LATHE)
        await parts.removals.remove(LATHE)
        await parts.flush()
        assert parts.store.removals() == {LATHE: Removal(0)}

    run(tmp_path, scenario)


def test_after_a_restart_it_is_not_there(tmp_path: Path) -> None:
    async def scenario(parts: GatewayParts) -> None:
        await parts.commit([record(LATHE, 1), record(SAW, 1)])
        await parts.removals.remove(LATHE)

    run(tmp_path, scenario)

    async def again() -> None:
        async with running(tmp_path) as parts:
            assert list(parts.removals) == [LATHE]
            assert parts.devices.get(LATHE) is None

    asyncio.run(again())
