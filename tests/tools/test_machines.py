"""Scenarios are plausible and repeatable; the truth is right where it is known by hand."""

import json

import numpy as np
import pytest

from clamptools.boards import read_board
from clamptools.errors import UserError
from clamptools.machines import MACHINES, Truth, board_of, scenario

BOARD = {
    "sources": {
        "adc": {"rate_hz": 6400, "slots": 4},
        "accelerometer": {"rate_hz": 3200, "slots": 3},
    },
    "channels": [
        {"key": "current1", "quantity": "current", "slot": 2},
        {"key": "vibration1", "quantity": "vibration"},
    ],
}
PLAIN = {
    "mains_hz": 50.0,
    "phase_deg": {"current1": 90},
    "accelerometer": {"rate_ppm": 1000},
    "waves": {
        "on": {
            "current1": [[1, 3.0, 0], [3, 4.0, 0]],
            "vibration1": {"x": [[100, 2.0, 0], [5, 9.0, 0]], "y": [[40, 1.0, 0], [60, 2.0, 0]]},
        },
    },
    "timeline": [
        {"wave": "off", "ms": 1000, "levels": {"current1": [9000]}},
        {"wave": "on", "ms": 1000, "levels": {"current1": [5000], "vibration1": [2000]}},
        {"wave": "on", "ms": 2000, "levels": {"current1": [0, 4000, 0]}},
    ],
}


@pytest.fixture
def truth() -> Truth:
    return Truth(PLAIN, BOARD)


def test_rms_of_a_steady_current(truth: Truth) -> None:
    assert truth.rms("current1", 6400, 6400) == pytest.approx(5.0, rel=1e-9)
    assert truth.rms("current1", 0, 6400) == 0  # "off" is no wave, whatever its level
    assert truth.rms("current1", 6400 + 4 * 6400, 6400) == pytest.approx(5.0, rel=1e-9)


def test_a_sample_by_hand(truth: Truth) -> None:
    n = 6400 + 77
    t = (n + 2 / 4) / 6400  # slot 2 of 4 is sampled half a frame later
    x = 5 * np.sqrt(2) * (
        0.6 * np.sin(2 * np.pi * (50 * t + 90 / 360))
        + 0.8 * np.sin(2 * np.pi * (150 * t + 3 * 90 / 360))
    )  # fmt: skip
    assert truth.current("current1", n, 1)[0] == pytest.approx(x, rel=1e-9)


def test_a_level_on_its_way(truth: Truth) -> None:
    # From 0 to 4 A in a second: mean square 16 / 3.
    rising = truth.rms("current1", 2 * 6400, 6400)
    falling = truth.rms("current1", 3 * 6400, 6400)
    assert rising == pytest.approx(4 / np.sqrt(3), rel=2e-3)
    assert falling == pytest.approx(rising, rel=2e-3)


def test_vibration_and_its_velocity(truth: Truth) -> None:
    assert truth.rate_hz("vibration1") == 3203.2
    first, n = 3204, 3203
    # 5 Hz is acceleration, but below the band of the velocity; windows of 200 ms hold it whole.
    squares = (2 * 2.0) ** 2 + (2 * 9.0) ** 2 + (2 * 1.0) ** 2 + (2 * 2.0) ** 2
    assert truth.acceleration_rms("vibration1", first, n) == pytest.approx(
        np.sqrt(squares), rel=0.01
    )
    ideal = 1000 * 2 * 2.0 / (2 * np.pi * 100)
    assert truth.velocity_rms("vibration1", "x", first, n) == pytest.approx(ideal, rel=1e-3)
    x = truth.acceleration("vibration1", "y", first, n)
    v = truth.velocity("vibration1", "y", first, n)
    slope = np.gradient(v, 1 / truth.rate_hz("vibration1"))[10:-10] / 1000
    assert np.max(np.abs(slope - x[10:-10])) < 0.01 * np.max(np.abs(x))
    assert np.all(truth.acceleration("vibration1", "z", first, n) == 0)


def test_frames_of_a_record(truth: Truth) -> None:
    start_us = 7_000_321
    assert truth.span("current1", 8000, start_us) == slice(0, 6400)
    assert truth.span("current1", 9000, start_us) == slice(6400, 12800)
    assert truth.span("vibration1", 9000, start_us) == slice(3203, 6406)
    assert truth.span("current1", 9000, start_us, seconds=0.2) == slice(12800 - 1280, 12800)


def test_time_goes_round(truth: Truth) -> None:
    assert [truth.wave_at(t) for t in (0, 0.999, 1.0, 3.9, 4.0, 5.5)] == [
        "off", "off", "on", "on", "off", "on",
    ]  # fmt: skip
    assert truth.changes_s(6) == [(0, "off"), (1, "on"), (2, "on"), (4, "off"), (5, "on")]


@pytest.mark.parametrize("machine", MACHINES)
def test_a_scenario_is_a_machine_s_day(machine: str) -> None:
    made = scenario(machine, 3)
    assert made == scenario(machine, 3)
    assert made != scenario(machine, 4)
    text = json.dumps(made)
    assert len(text) < 12_000  # the firmware parses it in 256 KB
    board = read_board(board_of(machine))
    truth = Truth(json.loads(text), board)
    waves = {phase["wave"] for phase in made["timeline"]}
    assert "off" in waves
    assert len(waves) >= 3
    # Within half a minute a demonstration has seen it off, idle and at work.
    assert len({wave for _t, wave in truth.changes_s(30)}) >= 3
    keys = {c["key"] for c in board["channels"] if c["quantity"] != "input"}
    for phase in made["timeline"]:
        assert set(phase["levels"]) <= keys
        assert phase["ms"] > 100 * max([1, *(len(k) for k in phase["levels"].values())])
    rated = {c["key"]: c["rated_a"] for c in board["channels"] if c["quantity"] == "current"}
    for key, rated_a in rated.items():
        levels = [k / 1000 for p in made["timeline"] for k in p["levels"].get(key, [])]
        assert 0.02 * rated_a < max(levels) < rated_a
    assert {phase["inputs"]["input1"] for phase in made["timeline"]} == {0, 1}


def test_no_such_machine() -> None:
    with pytest.raises(UserError, match="lathe, laser, printer"):
        scenario("teapot")
