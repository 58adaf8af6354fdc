"""Clocks of power-ups that outlive their session and the gateway: times do not jump."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clampgateway.clocksync import Clocks, ClockSync, Fit, Fits
from clampgateway.descriptions import Descriptions
from clampgateway.devices import Devices
from clampgateway.link import Links, keptclocks
from support.linkbench import UTC_MS

DEVICE_RATE = 1 + 40e-6


class Machine:
    """True time, a machine whose clocks may start anew or be set, and a device beside it."""

    def __init__(self, power_up: str = "one") -> None:
        self.true_us = 5e9
        self.power_up = power_up
        self.mono_zero_us = 0.0
        self.utc_error_ms = 0
        self.utc_known = True

    @property
    def clocks(self) -> Clocks:
        return Clocks(self.mono_us, self.utc_ms, self.power_up)

    def mono_us(self) -> int:
        return int(self.true_us - self.mono_zero_us)

    def utc_ms(self) -> int:
        return int(UTC_MS + self.true_us / 1000 + self.utc_error_ms) if self.utc_known else 0

    def restart(self) -> None:
        """Power cut of the machine; 90 s later its clock counts from zero again."""
        self.true_us += 90e6
        self.power_up += "+"
        self.mono_zero_us = self.true_us - 20e6

    def device_us(self) -> int:
        return int(self.true_us * DEVICE_RATE) - 1_000_000_000

    def exchange(self, sync: ClockSync, down_us: float, up_us: float) -> None:
        ident, asked_us, _utc = sync.ask(self.mono_us())
        self.true_us += down_us
        heard_us = self.device_us()
        self.true_us += up_us
        sync.anchor(self.mono_us())
        assert sync.answered(ident, asked_us, heard_us, heard_us + 1, self.mono_us())

    def learned(self, seconds: int = 300) -> ClockSync:
        sync = ClockSync(self.utc_ms)
        for second in range(0, seconds, 5):
            delay_us = 300 + second * 7919 % 2000
            self.exchange(sync, delay_us, 200)
            self.true_us += 5e6 - delay_us - 200
        return sync

    def told_ms(self, sync: ClockSync) -> int:
        utc_ms, synced = sync.to_utc_ms(self.device_us() // 1000)
        assert synced
        return utc_ms - (self.utc_ms() - self.utc_error_ms)


def kept(machine: Machine, sync: ClockSync, boot: int = 7) -> dict:
    """As a file brings it back."""
    fits = Fits()
    assert sync.fit is not None
    fits.keep(boot, sync.fit)
    return json.loads(json.dumps(keptclocks.dump({"lathe": fits}, machine.clocks)))


def again(machine: Machine, said: dict, boot: int = 7) -> ClockSync:
    """The session after a restart of the gateway, before its first answer."""
    found, bad = keptclocks.load(said, machine.clocks)
    assert bad == 0
    sync = ClockSync(machine.utc_ms)
    sync.resume(found.get("lathe", Fits()).get(boot))
    return sync


def test_a_session_goes_on_where_the_last_one_was() -> None:
    machine = Machine()
    sync = machine.learned()
    said = kept(machine, sync)
    machine.true_us += 20e6
    after, fresh = again(machine, said), ClockSync(machine.utc_ms)
    assert not after.synced  # not before an answer agrees
    for each in (after, fresh):
        machine.exchange(each, 200, 40_000)  # a slow way back, as at the start of a busy gateway
    device_us = machine.device_us()
    true_us = machine.mono_us()
    assert after.resumed == 1
    assert abs(after.to_mono_us(device_us) - sync.to_mono_us(device_us)) < 100
    assert abs(after.to_mono_us(device_us) - true_us) < 500
    assert abs(fresh.to_mono_us(device_us) - true_us) > 10_000  # what it would be otherwise
    assert abs(after.drift_ppm + 40) < 5
    for _ in range(70):  # and from there on it learns
        machine.true_us += 5e6
        machine.exchange(after, 200, 200)
    assert abs(after.to_mono_us(machine.device_us()) - machine.mono_us()) < 100
    assert after.steps == 0


@settings(max_examples=50, deadline=None)
@given(
    at_us=st.floats(0, 1e14),
    offset_us=st.floats(-1e14, 1e14),
    ppm=st.floats(-100, 100),
    span_us=st.floats(0, 3e8),
    answers=st.integers(1, 64),
)
def test_a_line_is_the_same_in_a_file(
    at_us: float, offset_us: float, ppm: float, span_us: float, answers: int
) -> None:
    fits = Fits()
    fits.keep(9, Fit(at_us, offset_us, ppm * 1e-6, 120.0, 1e-7, 900.0, span_us, answers))
    clocks = Clocks(lambda: 10, lambda: UTC_MS, "one")
    found, bad = keptclocks.load(
        json.loads(json.dumps(keptclocks.dump({"a": fits}, clocks))), clocks
    )
    back, there = found["a"].get(9), fits.get(9)
    assert back is not None
    assert there is not None
    assert bad == 0
    for later_us in (0, 3600e6):
        assert abs(back.to_mono_us(at_us + later_us) - there.to_mono_us(at_us + later_us)) < 2
    for sample in back.samples():
        assert abs(sample.offset_us - there.offset_at(sample.device_us)) < 2
    assert len(back.samples()) == min(answers, 16)


def test_another_power_up_under_the_same_number_is_not_mistaken() -> None:
    machine = Machine()
    said = kept(machine, machine.learned())
    other = Machine()
    other.true_us = machine.true_us + 30e6
    other.device_us = lambda: int(other.true_us - machine.true_us)  # it counts from zero again
    sync = again(other, said)
    other.exchange(sync, 200, 200)
    assert (sync.contradicted, sync.resumed, sync.steps) == (1, 0, 0)
    assert abs(sync.to_mono_us(other.device_us()) - other.mono_us()) < 500


@pytest.mark.parametrize("off_us", [30_000, -30_000])
def test_what_the_estimate_does_not_allow_is_dropped(off_us: int) -> None:
    machine = Machine()
    said = kept(machine, machine.learned())
    said["devices"]["lathe"][0][2] += off_us
    sync = again(machine, said)
    machine.exchange(sync, 200, 200)
    assert sync.contradicted == 1
    assert abs(sync.to_mono_us(machine.device_us()) - machine.mono_us()) < 500


@pytest.mark.parametrize("step_ms", [3_600_000, -3_600_000])
def test_utc_that_was_set_while_the_gateway_was_away_is_followed(step_ms: int) -> None:
    """The machine went on: its monotonic clock knows nothing of the step, nor does the line."""
    machine = Machine()
    said = kept(machine, machine.learned())
    machine.utc_error_ms = step_ms
    sync = again(machine, said)
    machine.exchange(sync, 200, 200)
    assert (sync.resumed, sync.contradicted) == (1, 0)
    assert abs(machine.told_ms(sync) - step_ms) <= 2


def test_after_a_restart_of_the_machine_the_line_leads_to_utc() -> None:
    machine = Machine()
    sync = machine.learned()
    said = kept(machine, sync)
    machine.restart()
    after = again(machine, said)
    machine.exchange(after, 200, 40_000)
    assert after.resumed == 1
    assert abs(machine.told_ms(after)) <= 2
    # Once more, from what is kept of that: it leads to the clock of the second run now.
    said = kept(machine, after)
    machine.restart()
    third = again(machine, said)
    machine.exchange(third, 200, 200)
    assert third.resumed == 1
    assert abs(machine.told_ms(third)) <= 2


def test_a_machine_that_starts_with_a_wrong_utc_does_not_believe_the_line() -> None:
    machine = Machine()
    said = kept(machine, machine.learned())
    machine.restart()
    machine.utc_error_ms = -90_000  # the time of its shutdown, as without a clock of its own
    sync = again(machine, said)
    machine.exchange(sync, 200, 200)
    assert (sync.contradicted, sync.resumed) == (1, 0)
    assert abs(sync.to_mono_us(machine.device_us()) - machine.mono_us()) < 500


def test_without_utc_a_line_to_utc_is_neither_used_nor_blamed() -> None:
    machine = Machine()
    said = kept(machine, machine.learned())
    machine.restart()
    machine.utc_known = False
    sync = again(machine, said)
    machine.exchange(sync, 200, 200)
    assert (sync.contradicted, sync.resumed, sync.synced) == (0, 0, True)
    silent = kept(machine, sync)  # and what is kept without UTC is lost with the machine's run
    assert silent["utc_minus_mono_ms"] is None
    machine.restart()
    assert keptclocks.load(silent, machine.clocks) == ({}, 0)


def test_an_item_of_an_earlier_power_up_is_dated_by_a_line_to_utc() -> None:
    machine = Machine()
    sync = machine.learned()
    moment_ms, utc_ms = machine.device_us() // 1000, machine.utc_ms()
    said = kept(machine, sync)
    machine.restart()
    found, _ = keptclocks.load(said, machine.clocks)
    fit = found["lathe"].get(7)
    assert fit is not None
    assert fit.utc
    other = ClockSync(machine.utc_ms)
    assert other.to_utc_ms_by(fit, moment_ms) == (0, False)
    other.anchor(machine.mono_us())
    told_ms, synced = other.to_utc_ms_by(fit, moment_ms)
    assert synced
    assert abs(told_ms - utc_ms) <= 2


GOOD = [7, 1000, 5.0, 1e-6, 10.0, 1e-7, 500.0, 1000, 5, 0]


@pytest.mark.parametrize(
    "said",
    [
        7, "x", [], {"devices": 3}, {"devices": {"a": 3}}, {"devices": {"a": [3]}},
        *({"power_up": "p", "devices": {"a": [[*GOOD[:at], bad, *GOOD[at + 1 :]]]}}
          for at in range(len(GOOD)) for bad in ("x", None, float("nan"), 1e300, -1e300)),
        {"power_up": "p", "devices": {"a": [GOOD[:-1]]}},
        {"power_up": "q", "utc_minus_mono_ms": "x", "devices": {"a": [GOOD]}},
    ],
)  # fmt: skip
def test_what_is_no_clock_is_left_aside_and_counted(said: object) -> None:
    found, bad = keptclocks.load(said, Clocks(lambda: 1, lambda: UTC_MS, "p"))
    assert (found, bad) == ({}, 0 if not said else 1)


def test_the_others_are_taken() -> None:
    said = {"power_up": "p", "devices": {"a": [GOOD, [1]], "b": [[8, *GOOD[1:]]]}}
    found, bad = keptclocks.load(said, Clocks(lambda: 1, lambda: UTC_MS, "p"))
    assert (sorted(found), bad) == (["a", "b"], 1)


def test_the_last_utc_is_kept_with_them() -> None:
    said = keptclocks.dump({}, Clocks(lambda: 1, lambda: UTC_MS, "p"))
    assert keptclocks.seen_ms(json.loads(json.dumps(said))) == UTC_MS
    for bad in (None, [], {}, {"utc_ms": "x"}, {"utc_ms": float("inf")}, {"utc_ms": -5}):
        assert keptclocks.seen_ms(bad) == 0


def test_the_last_utc_is_kept_while_none_is_known() -> None:
    """Else a second start of the gateway would believe a clock that the first did not."""
    machine = Machine()
    links = Links(Devices(), Descriptions(()), {}, "gw", machine.clocks)
    seen_ms = machine.utc_ms()
    said = links.clocks()
    for _start in range(3):
        machine.utc_known = False
        links = Links(Devices(), Descriptions(()), {}, "gw", machine.clocks, said)
        machine.true_us += 60e6
        said = links.clocks()
        assert keptclocks.seen_ms(said) == seen_ms
    machine.utc_known = True
    machine.utc_error_ms = -3_600_000  # it was an hour ahead
    assert keptclocks.seen_ms(links.clocks()) == machine.utc_ms() < seen_ms
