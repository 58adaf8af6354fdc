"""Link sessions against the firmware's own link: the normal way, restarts, presence, admission."""

from __future__ import annotations

import pytest

from clampgateway.link import Answer
from clampgateway.model import EVENT
from clampwire import framing, messages
from support.devicelink import DeviceModel
from support.linkbench import CODEC, UTC_MS, LinkBench, frames_of, hello, record_payload, running

# --- the normal way ------------------------------------------------------------------------------


def test_from_hello_to_acknowledged_records_with_utc() -> None:
    bench = LinkBench()
    for second in range(10):
        bench.device.record(1.0 + second)
        bench.run(1)
    assert not bench.missing()
    assert not bench.wrong()
    assert bench.device.unacknowledged == 0
    assert bench.redelivered == 0
    entry = bench.devices.get("lathe")
    assert entry is not None
    assert entry.online
    assert entry.identity is not None
    assert entry.identity.name == "Lathe 3"
    assert entry.description is not None
    assert [channel.key for channel in entry.description.channels] == ["current1"]
    assert entry.status["temperature_c"] == pytest.approx(31.5)
    # Device time 0 was at 77 s of the gateway's clock; all but a 50-ms step is known exactly.
    for item in bench.committed.values():
        assert item.synced
        assert abs(item.utc_ms - (UTC_MS + 77_000 + item.end_ms)) <= 51


def test_nothing_is_acknowledged_before_its_commit() -> None:
    bench = running()
    bench.hold_commits = True
    for _ in range(5):
        bench.device.record(2.0)
        bench.run(1)
    assert bench.device.unacknowledged == 5
    assert bench.session.inflight >= 5  # and what was sent again meanwhile
    bench.hold_commits = False
    bench.run(0.2)
    assert bench.device.unacknowledged == 0
    assert bench.session.inflight == 0


def test_first_items_wait_for_the_clock_instead_of_losing_their_time() -> None:
    bench = LinkBench()
    for _ in range(30):
        bench.device.record(3.0)  # made before anybody said Hello
    bench.run(3)
    assert len(bench.committed) == 30
    assert all(item.synced for item in bench.committed.values())


def test_a_late_clock_is_waited_for() -> None:
    bench = LinkBench()
    answer = bench.device.link._took_time
    skipped = []

    def late(message: object, now_us: int) -> None:
        skipped.append(message) if len(skipped) < 2 else answer(message, now_us)

    bench.device.link._took_time = late
    bench.device.record(3.0)
    bench.run(0.5)
    assert bench.committed == {}
    bench.run(2)
    assert len(skipped) == 2
    assert all(item.synced for item in bench.committed.values())
    assert not bench.missing()


def test_a_clock_that_is_never_told_delays_items_by_two_seconds_only() -> None:
    bench = running()
    bench.replug()
    device = bench.device
    device.link._took_time = lambda message, now_us: None  # a device that answers no Time
    device.record(1.0)
    bench.run(20)  # it says Hello again when it has not heard us for 15 s, or is asked
    assert not bench.missing()
    assert not next(iter(bench.committed.values())).synced


def test_without_utc_items_enter_at_once_as_not_synced() -> None:
    bench = running(utc_known=False)
    bench.device.record(1.0)
    bench.run(0.2)
    (item,) = bench.committed.values()
    assert (item.utc_ms, item.synced) == (0, False)


def test_events_and_gaps_are_items_too() -> None:
    bench = running()
    bench.device.event("state", 3, "current above 2 A")
    bench.run(0.5)
    (item,) = bench.committed.values()
    assert item.kind == EVENT
    assert bench.device.unacknowledged == 0


# --- restarts ------------------------------------------------------------------------------------


def test_a_restarted_gateway_is_told_everything_again_and_loses_nothing() -> None:
    bench = running()
    bench.hold_commits = True
    for _ in range(8):
        bench.device.record(1.5)
        bench.run(0.2)
    bench.kill_gateway()
    bench.hold_commits = False
    bench.run(4)
    assert not bench.missing()
    assert not bench.wrong()
    assert bench.device.unacknowledged == 0
    assert {boot for _key, boot, _seq in bench.committed} == {1}


def test_a_gateway_that_restarts_asks_for_hello_at_once() -> None:
    bench = running()
    bench.kill_gateway()
    bench.device.record(1.0)
    bench.run(0.5)  # far less than the 15 s after which a device misses its gateway
    assert bench.session.state == "accepted"


def test_a_power_cycled_device_gets_a_boot_above_all_that_were_seen() -> None:
    bench = running()
    bench.hold_commits = True
    bench.device.record(1.0)
    bench.run(0.2)
    bench.device.power_cycle()
    bench.device.boots = bench.device.link.boot = 0  # its counter was lost with its flash
    bench.device.record(2.0)
    bench.hold_commits = False
    bench.run(5)
    assert bench.conflicts == 0
    assert {boot for _key, boot, _seq in bench.committed} == {1, 2}
    assert not bench.missing()
    assert not bench.wrong()
    entry = bench.devices.get("lathe")
    assert entry is not None
    assert entry.identity is not None
    assert entry.identity.boot == 2


def test_a_power_cycle_starts_the_device_time_anew() -> None:
    bench = running()
    bench.run(600)
    bench.device.power_cycle()
    bench.run(2)
    bench.device.record(1.0)
    made_ms = UTC_MS + bench.now_us / 1000
    bench.run(1)
    (item,) = bench.committed.values()
    assert item.synced
    assert abs(item.utc_ms - made_ms) <= 60
    assert bench.session.stats()["clock_steps"] == 0


def test_a_lost_welcome_is_repeated() -> None:
    bench = LinkBench()
    bench.step()
    for _ in range(10):
        bench._to_device = b""
        bench.step()
    assert not bench.device.link.ready
    bench.run(1.5)
    assert bench.device.link.ready
    assert bench.session.stats()["sessions"] == 1


def test_a_lost_describe_is_asked_for() -> None:
    bench = LinkBench()
    bench.step()  # Hello
    bench.step(up=b"")  # the Describe frames are lost
    bench.device.record(1.0)
    bench.run(5)
    assert bench.session.stats()["undescribed"] > 0
    assert not bench.missing()
    assert bench.device.unacknowledged == 0


# --- presence ------------------------------------------------------------------------------------


def test_offline_after_ten_silent_seconds_and_back_with_the_first_frame() -> None:
    bench = running()
    entry = bench.devices.at("lathe")
    bench.device.record(1.0)
    bench.step()
    for _ in range(199):
        bench.step(device_runs=False)
    assert entry.online
    for _ in range(3):
        bench.step(device_runs=False)
    assert not entry.online
    bench.device.record(2.0)
    bench.step()
    assert entry.online
    assert bench.changes.count(("lathe", "offline")) == 1
    assert bench.session.stats()["silences"] == 1


def test_a_gateway_that_slept_does_not_blame_the_device() -> None:
    bench = running()
    bench.now_us += 60_000_000
    bench.device.now_us += 60_000_000
    bench.session.poll(bench.now_us)
    assert bench.devices.at("lathe").online


def test_hang_up_is_offline_at_once_and_ends_commands() -> None:
    bench = running()
    answers: list[Answer] = []
    bench.session.command("identify", {"seconds": 1}, answers.append, bench.now_us)
    bench.links.close(bench.session)
    bench.links.close(bench.session)
    assert not bench.devices.at("lathe").online
    assert [answer.status for answer in answers] == ["disconnected"]
    assert bench.links.stats()["links"] == 0
    assert bench.links.stats()["frames"] > 0  # counters of closed links stay


# --- who may speak -------------------------------------------------------------------------------


def test_another_major_version_is_named_and_not_ingested_but_can_be_commanded() -> None:
    bench = LinkBench()
    bench.session.receive(hello(major=messages.WIRE_MAJOR + 1), bench.now_us)
    (name, welcome) = frames_of(bench.session.poll(bench.now_us))[0]
    assert (name, welcome.accepted) == ("Welcome", 0)
    assert f"wire {messages.WIRE_MAJOR + 1}." in welcome.reason
    assert f"gateway {messages.WIRE_MAJOR}." in welcome.reason
    assert bench.devices.at("lathe").refused == welcome.reason
    assert not bench.devices.at("lathe").online
    bench.session.receive(bytes(framing.frame(record_payload(9))), bench.now_us)
    assert bench.session.take_items() == []
    assert bench.session.stats()["unexpected"] == 1
    bench.session.command("identify", {}, lambda answer: None, bench.now_us)
    assert [name for name, _ in frames_of(bench.session.poll(bench.now_us))] == ["Command"]


def test_another_minor_version_is_served() -> None:
    bench = LinkBench()
    fields = (CODEC.table_crc ^ 1, "lathe", 1, 5, "n", "b", "f", "r", 0, 0, 0, 1)
    newer = CODEC.encode("Hello", messages.WIRE_MAJOR, messages.WIRE_MINOR + 1, *fields)
    bench.session.receive(framing.frame(newer + b"more fields"), bench.now_us)
    bench.session.receive(framing.frame(b"\x7a a new message"), bench.now_us)
    assert bench.session.state == "accepted"
    assert bench.session.stats()["unknown"] == 1


@pytest.mark.parametrize("device", ["", "a/b", "a+b", "#", "_gateway", "x" * 65, "ä", "a b", "\n"])
def test_an_id_that_cannot_be_a_topic_is_refused(device: str) -> None:
    bench = LinkBench()
    bench.session.receive(hello(device), bench.now_us)
    (_name, welcome) = frames_of(bench.session.poll(bench.now_us))[0]
    assert welcome.accepted == 0
    assert "device id" in welcome.reason
    assert len(bench.devices) == 0


def test_two_live_links_with_one_id_are_both_refused_until_one_is_gone() -> None:
    bench = running()
    twin = DeviceModel()
    twin.now_us = bench.device.now_us
    other = bench.links.open("port-b")
    to_twin = b""
    seen: list[int] = []
    for second in range(30):
        for _ in range(20):
            if second < 20:
                bench.step()
            else:
                bench.now_us += 50_000
            twin.now_us += 50_000
            twin.give(to_twin)
            other.receive(twin.take(), bench.now_us)
            to_twin = other.poll(bench.now_us)
        if second == 10:
            seen.append(len(bench.committed))
            bench.device.record(1.0)
            twin.record(5.0)
            assert (bench.session.state, other.state) == ("refused", "refused")
            entry = bench.devices.at("lathe")
            assert not entry.online
            assert "port-a, port-b" in entry.refused
            assert "two live links" in bench.device.link.refusal
            assert "two live links" in twin.link.refusal
        if second == 19:
            seen.append(len(bench.committed))
            assert other.take_items() == []
            bench.links.close(bench.session)
    assert seen[0] == seen[1]  # nothing of either was ingested
    assert other.state == "accepted"
    assert bench.devices.at("lathe").online
    assert bench.devices.at("lathe").refused == ""
    assert bench.links.stats()["refused_twins"] >= 2


def test_a_link_may_carry_another_device_later() -> None:
    bench = running()
    bench.device = DeviceModel("mill")
    bench.run(2)
    assert not bench.devices.at("lathe").online
    assert bench.devices.at("mill").online


def test_a_late_commit_is_not_acknowledged_to_the_next_device_on_the_link() -> None:
    bench = running()
    bench.hold_commits = True
    bench.device.record(1.0)
    bench.run(0.2)
    bench.device = DeviceModel("mill")
    bench.run(2)
    bench.device.record(2.0)
    bench.commit()  # the lathe's (boot 1, seq 0); the mill's of the same name is not even read
    for _ in range(5):
        bench.step(up=b"")
    assert bench.device.unacknowledged == 1


def test_devices_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("clampgateway.link.links.DEVICES_MAX", 3)
    bench = LinkBench()
    for number in range(6):
        bench.session.receive(hello(f"d{number}", number), bench.now_us)
    assert len(bench.devices) == 3
    assert "knows 3 devices" in bench.session.reason
