"""Two sensors of one motion: told apart by their levels, on evidence, never averaged."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from clamptools import cli, twosensors
from clamptools.recording import Recording
from clamptools.twosensors import Comparison, compare

RATES_HZ = (3200.0, 2500.0)
SECONDS = 3


def _motion(rate_hz: float, late_s: float = 0.0) -> np.ndarray:
    t_s = np.arange(round(rate_hz * SECONDS)) / rate_hz - late_s
    return np.sin(2 * np.pi * 97 * t_s) + 0.3 * np.sin(2 * np.pi * 211.3 * t_s)


def _noise(rate_hz: float, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(round(rate_hz * SECONDS))


def _compared(first: np.ndarray, second: np.ndarray) -> Comparison:
    recordings = tuple(
        Recording(f"f.npz {name}", samples, rate_hz, "g", None, name)
        for name, samples, rate_hz in zip("ab", (first, second), RATES_HZ, strict=True)
    )
    levels = tuple(
        [float(np.std(window)) for window in np.split(samples, round(5 * SECONDS))]
        for samples in (first, second)
    )
    return compare((recordings[0], recordings[1]), RATES_HZ, (levels[0], levels[1]), 0.2)


@pytest.mark.parametrize(
    ("gain", "agree"), [(1.0, True), (1.08, True), (1.12, False), (0.62, False), (-1.0, True)]
)
def test_the_limit_counts_both_ways_and_a_turned_axis_is_no_gain(gain: float, agree: bool) -> None:
    first = _motion(RATES_HZ[0])
    for late_s in (0.0, 0.011):  # clocks that began apart
        said = _compared(first, gain * _motion(RATES_HZ[1], late_s))
        assert said.agree is agree
        assert said.ratio == pytest.approx(max(abs(gain), 1 / abs(gain)), rel=0.01)
        assert said.correlation > 0.95
        assert said.rms[0] == pytest.approx(np.std(first), rel=0.01)
    assert ("DISAGREE" in said.text("g")) is not agree


def test_noise_is_no_evidence() -> None:
    said = _compared(_noise(RATES_HZ[0], 1), 4 * _noise(RATES_HZ[1], 2))
    assert said.agree is None
    assert said.ratio > twosensors.LIMIT
    assert said.correlation < 0.3
    assert "do not follow each other" in said.text("g")


def test_a_sensor_that_is_silent_is_told_without_a_ratio() -> None:
    said = _compared(_motion(RATES_HZ[0]), 0 * _motion(RATES_HZ[1]))
    assert (said.agree, said.windows, said.rms[1]) == (None, 0, 0.0)
    assert "5 are needed" in said.text("g")
    assert said.as_json()["ratio"] is None
    assert json.loads(json.dumps(said.as_json()))["columns"] == ["a", "b"]


def test_a_jolt_of_one_sensor_does_not_move_the_ratio() -> None:
    second = 1.02 * _motion(RATES_HZ[1])
    second[:500] *= 3
    said = _compared(_motion(RATES_HZ[0]), second)
    assert said.agree is True
    assert said.ratio == pytest.approx(1.02, rel=0.01)


@pytest.fixture
def pair_npz(tmp_path: Path) -> Path:
    path = tmp_path / "pair.npz"
    columns = [
        np.stack([0.5 * _motion(rate_hz), gain * _motion(rate_hz)], axis=1).astype(np.float32)
        for rate_hz, gain in zip(RATES_HZ, (1.0, 1.5), strict=True)
    ]
    meta = json.dumps({"fs": dict(zip("pm", RATES_HZ, strict=True)), "units": "g"})
    np.savez(path, p=columns[0], m=columns[1], meta=meta)
    return path


def _lines(capsys: pytest.CaptureFixture[str], *arguments: str) -> list[dict[str, Any]]:
    code = cli.main(["replay", *arguments, "--kind", "vibration", "--json"])
    captured = capsys.readouterr()
    assert code == 0, captured.err
    return [json.loads(line) for line in captured.out.splitlines()]


def test_replay_says_it_of_a_file_with_two(
    capsys: pytest.CaptureFixture[str], pair_npz: Path
) -> None:
    *windows, last = _lines(capsys, str(pair_npz), "--column", "p[:,1]")
    said = last["sensors"]
    assert said["columns"] == ["p[:,1]", "m[:,1]"]
    assert (said["agree"], said["limit"], len(windows)) == (False, twosensors.LIMIT, 15)
    assert said["ratio"] == pytest.approx(1.5, rel=1e-3)
    # The windows are the sensor's own, as without the other.
    assert windows == _lines(capsys, str(pair_npz), "--column", "p[:,1]", "--against", "none")
    alone = math.sqrt((1 + 0.09) / 2)
    assert windows[3]["rms"] == pytest.approx(alone, rel=0.01)
    *_windows, last = _lines(capsys, str(pair_npz), "--column", "p[:,0]")
    assert last["sensors"]["agree"] is True
    *_windows, last = _lines(capsys, str(pair_npz), "--column", "p[:,1]", "--against", "p[:,0]")
    assert last["sensors"]["columns"] == ["p[:,1]", "p[:,0]"]
    assert last["sensors"]["ratio"] == pytest.approx(2.0, rel=1e-3)


def test_the_line_for_people_and_what_is_refused(
    capsys: pytest.CaptureFixture[str], pair_npz: Path
) -> None:
    start = ["replay", str(pair_npz), "--column", "p[:,1]", "--kind", "vibration"]
    assert cli.main(start) == 0
    last = capsys.readouterr().out.splitlines()[-1]
    assert last.startswith("p[:,1] and m[:,1] DISAGREE: 0.73")
    assert "ratio 1.500, limit 1.1" in last
    for against, says in (("p[:,1]", "choose another"), ("q", "no array 'q'")):
        assert cli.main([*start, "--against", against]) == 2
        assert says in capsys.readouterr().err
    assert cli.main([*start[:-1], "current", "--unit", "A", "--against", "m[:,1]"]) == 2
    assert "--against needs --kind vibration" in capsys.readouterr().err


def test_arrays_of_one_rate_or_another_shape_are_no_second_sensor(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    wave = _motion(RATES_HZ[0])
    path = tmp_path / "runs.npz"
    np.savez(path, day1=wave, day2=2 * wave, meta='{"fs": 3200, "units": "g"}')
    assert all("t" in line for line in _lines(capsys, str(path), "--column", "day1"))
    meta = '{"fs": {"a": 3200, "b": 2500}, "units": "g"}'
    np.savez(path, a=wave, b=np.stack([wave, wave], axis=1), meta=meta)
    assert all("t" in line for line in _lines(capsys, str(path), "--column", "a"))
