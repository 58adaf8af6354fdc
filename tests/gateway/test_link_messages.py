"""What may come over a link and what is said back: bad items, text, commands, acknowledgements."""

from __future__ import annotations

import asyncio
import logging

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clampgateway.link import Answer, LinkError
from clampgateway.model import RECORD, Item
from clampwire import framing, messages
from support.devicelink import CURRENT, DeviceModel
from support.linkbench import LinkBench, frame, frames_of, hello, record_payload, running

# --- what may come -------------------------------------------------------------------------------


def test_malformed_and_undescribed_items_are_counted_and_not_ingested() -> None:
    bench = running()
    layout = bench.device.link.describe_crc & 0xFF
    good = record_payload(100, layout)
    for bad in (good[:12], good[:16], good[:17], good[:-1]):
        bench.session.receive(framing.frame(bad), bench.now_us)
    bench.session.receive(framing.frame(record_payload(101, layout ^ 1)), bench.now_us)
    bench.session.receive(framing.frame(b"\x05\x01"), bench.now_us)
    stats = bench.session.stats()
    assert (stats["malformed"], stats["undescribed"]) == (5, 1)
    assert bench.session.take_items() == []
    bench.session.receive(framing.frame(good + b"newer fields"), bench.now_us)
    assert [item.seq for item in bench.session.take_items()] == [100]


def test_items_of_an_earlier_description_are_read_with_it() -> None:
    bench = running()
    old = bench.device.link.describe_crc
    bench.device.record(1.0)
    payload = bytes(bench.device.spool.payload(0))
    changed = (*CURRENT[:5], 60.0, *CURRENT[6:])
    bench.device.power_cycle()
    bench.device.describes = (changed,)
    bench.device.power_up()
    bench.device.record(2.0)
    bench.run(3)
    new = bench.device.link.describe_crc
    assert new != old
    assert [item.describe_crc for item in bench.committed.values()] == [new]
    bench.session.receive(framing.frame(payload), bench.now_us)
    (item,) = bench.session.take_items()
    assert item.describe_crc == old
    assert not item.synced  # its ticks count from another power-up
    assert {crc for _device, crc in bench.stored} == {old, new}


def test_a_senseless_description_is_counted_and_its_items_wait() -> None:
    bench = LinkBench(DeviceModel(describes=(CURRENT, CURRENT)))
    bench.device.record(1.0)
    bench.run(3)
    assert bench.session.stats()["bad_descriptions"] > 0
    assert bench.committed == {}
    assert bench.device.unacknowledged == 1


def test_text_goes_to_the_log_and_a_flood_of_it_does_not(caplog: pytest.LogCaptureFixture) -> None:
    bench = running()
    with caplog.at_level(logging.INFO, "clampgateway.device"):
        bench.session.receive(b"Traceback\x1b[31m\r\n  line 3\r\n~", bench.now_us)
        for number in range(500):
            bench.session.receive(b"flood %d\n~" % number, bench.now_us)
        bench.now_us += 5_000_000
        bench.session.receive(b"later\n~", bench.now_us)
    lines = [record.getMessage() for record in caplog.records]
    assert any(line.endswith(": Traceback [31m") for line in lines)
    assert len(lines) <= 22
    assert any("left_out=482" in line for line in lines)
    assert lines[-1].endswith(": later")
    assert bench.session.stats()["text_suppressed"] == 482


# --- commands ------------------------------------------------------------------------------------


def test_a_command_is_answered_once() -> None:
    bench = running()
    answers: list[Answer] = []
    ident = bench.session.command("identify", {"seconds": 3}, answers.append, bench.now_us)
    bench.run(0.5)
    assert bench.device.identified == [{"seconds": 3}]
    assert answers == [Answer(ident, "ok", {})]
    bench.session.receive(frame("Answer", ident, 0, b"{}"), bench.now_us)
    assert len(answers) == 1
    assert bench.session.stats()["answers_unmatched"] == 1


def test_commands_that_fail_say_how() -> None:
    bench = running()
    answers: list[Answer] = []
    bench.session.command("unheard_of", {}, answers.append, bench.now_us)
    bench.run(0.5)
    assert answers.pop().status == "unknown_command"
    first = bench.session.command("time", {}, answers.append, bench.now_us)
    bench.session.receive(frame("Answer", first, 0, b"[" * 900), bench.now_us)
    assert answers.pop().status == "failed"
    bench.session.command("time", {}, answers.append, bench.now_us)
    for _ in range(120):
        bench.step(device_runs=False)
    assert answers.pop().status == "timeout"
    with pytest.raises(LinkError, match="at most 192"):
        bench.session.command("identify", {"x": "y" * 300}, answers.append, bench.now_us)
    for _ in range(8):
        bench.session.command("time", {}, answers.append, bench.now_us)
    with pytest.raises(LinkError, match="wait for answers"):
        bench.session.command("time", {}, answers.append, bench.now_us)
    with pytest.raises(LinkError, match="no device"):
        bench.links.open("port-b").command("time", {}, answers.append, bench.now_us)


def test_links_give_a_command_by_device() -> None:
    bench = running()

    async def ask() -> Answer:
        asked = asyncio.create_task(bench.links.command("lathe", "time"))
        while not asked.done():
            bench.step()
            await asyncio.sleep(0)
        return await asked

    answer = asyncio.run(ask())
    assert answer.status == "ok"
    assert abs(answer.body["device_us"] - bench.device.now_us) < 1_000_000
    with pytest.raises(LinkError, match="not connected"):
        asyncio.run(bench.links.command("nobody", "time"))


# --- what is said --------------------------------------------------------------------------------


def test_every_frame_fits_a_device_and_no_raw_interrupt_goes_out() -> None:
    bench = LinkBench()
    bench.links.gateway_id = "ä" * 200
    bench.session.receive(hello("x" * 64, 0x03030404, messages.WIRE_MAJOR + 3), bench.now_us)
    bench.session.receive(hello("#" * 200, 0x03030403), bench.now_us)
    out = bench.session.poll(bench.now_us, 4096)
    assert [name for name, _ in frames_of(out)] == ["Welcome", "Welcome", "Time"]
    for payload in framing.Deframer(messages.PAYLOAD_MAX).feed(out):
        assert len(payload) <= messages.PAYLOAD_MAX_TO_DEVICE
    assert b"\x03" not in out
    assert b"\x04" not in out


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 2), st.integers(0, 300)), max_size=120), st.data())
def test_acks_name_exactly_what_was_committed(
    keys: list[tuple[int, int]], data: st.DataObject
) -> None:
    bench = running()
    session = bench.session
    items = [item_of(boot, seq) for boot, seq in keys]
    acked: set[tuple[int, int]] = set()
    session.inflight = len(items)
    while items:
        count = data.draw(st.integers(1, len(items)))
        session.committed(items[:count])
        items = items[count:]
    while session.wants_to_write:
        out = session.poll(bench.now_us, data.draw(st.integers(400, 2000)))
        for name, message in frames_of(out):
            if name == "Ack":
                assert 1 <= len(message.ranges) <= messages.ACK_RANGES_MAX
                for boot, first, last in message.ranges:
                    acked |= {(boot, seq) for seq in range(first, last + 1)}
    assert acked == set(keys)
    assert session.inflight == 0


def item_of(boot: int, seq: int) -> Item:
    return Item("lathe", boot, seq, RECORD, 0, 0, False, 0, b"")


def test_output_is_bounded_when_nobody_reads() -> None:
    bench = running()
    for seq in range(0, 4000, 2):
        bench.session.committed([item_of(1, seq)])
    assert bench.session.stats()["out_dropped"] == 2000 - 256
    assert len(bench.session.poll(bench.now_us, 1024)) <= 1024
    for nonce in range(100):
        bench.session.receive(hello("lathe", nonce), bench.now_us)
    total = 0
    while data := bench.session.poll(bench.now_us, 1024):
        total += len(data)
    assert total < 20_000
