"""A line that loses, doubles, swaps and invents; devices and gateways that die meanwhile."""

from __future__ import annotations

import json
import random

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from clampgateway.link import LinkSession
from clampgateway.model import RECORD
from support.linkbench import LinkBench

ACTIONS = st.one_of(
    st.tuples(st.just("record"), st.integers(1, 5)),
    st.tuples(st.just("run"), st.integers(1, 8)),
    st.tuples(st.just("flip"), st.integers(0, 10_000)),
    st.tuples(st.just("drop"), st.integers(0, 10_000)),
    st.tuples(st.just("insert"), st.binary(min_size=1, max_size=30)),
    st.tuples(st.just("double"), st.integers(1, 3)),
    st.tuples(st.just("swap"), st.integers(1, 3)),
    st.tuples(st.just("cut"), st.integers(0, 10_000)),
    st.tuples(st.just("deaf"), st.integers(1, 4)),
    st.tuples(st.just("hold"), st.integers(1, 20)),
    st.tuples(st.just("kill"), st.just(0)),
    st.tuples(st.just("power"), st.just(0)),
)


def spoil(bench: LinkBench, action: str, argument: object) -> None:
    """One thing that happens to the device, the line or the gateway."""
    device = bench.device
    if action == "record" and isinstance(argument, int):
        for _ in range(argument):
            device.record(argument / 7)
    elif action == "run" and isinstance(argument, int):
        for _ in range(argument):
            bench.step()
    elif action == "kill":
        bench.kill_gateway()
    elif action == "power":
        device.power_cycle()
    elif action == "hold" and isinstance(argument, int):
        bench.hold_commits = True
        for _ in range(argument):
            bench.step()
        bench.hold_commits = False
    elif action == "deaf" and isinstance(argument, int):
        for _ in range(argument):
            bench._to_device = b""
            bench.step()
    else:
        device.now_us += 50_000
        device.give(bench._to_device)
        told = device.take()
        if isinstance(argument, bytes):
            told = argument + told
        elif isinstance(argument, int):
            at = argument % (len(told) + 1)
            if action == "flip" and told:
                at %= len(told)
                told = told[:at] + bytes([told[at] ^ (1 << argument % 8)]) + told[at + 1 :]
            elif action == "drop":
                told = told[:at]
            elif action == "double":
                told *= 1 + argument
            elif action == "swap":
                parts = told.split(b"\x7e\x7e")
                random.Random(argument).shuffle(parts)
                told = b"\x7e\x7e".join(parts)
            elif action == "cut":
                bench.session.receive(told[:at], bench.now_us)
                bench.replug()
                return
        bench._to_device = b""
        bench.now_us += 50_000
        bench.session.receive(told, bench.now_us)
        bench._to_device = bench.session.poll(bench.now_us)
        bench.collect()


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(ACTIONS, max_size=25))
def test_whatever_the_line_does_nothing_is_lost_or_invented(
    actions: list[tuple[str, object]],
) -> None:
    bench = LinkBench()
    for action, argument in actions:
        spoil(bench, action, argument)
    bench.device.record(9.9)
    for _ in range(600):  # 30 s on a clean line: a silence of 15 s, a resend, and some
        bench.step()
        if bench.device.unacknowledged == 0 and not bench.missing():
            break
    assert not bench.missing()
    assert not bench.wrong()
    assert bench.conflicts == 0
    assert bench.device.unacknowledged == 0
    for item in bench.committed.values():
        assert item.payload[:1] == bytes([RECORD])


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=3000), st.integers(1, 700))
def test_noise_of_any_kind_never_raises_and_never_becomes_an_item(noise: bytes, cut: int) -> None:
    bench = LinkBench()
    session: LinkSession = bench.session
    for at in range(0, len(noise), cut):
        session.receive(noise[at : at + cut], bench.now_us)
    assert session.take_items() == []
    assert json.dumps(session.stats())
