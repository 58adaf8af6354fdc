"""`clampwork replay` with the real firmware behind it, and what a user can do wrong."""

import json
import math
import wave
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from clamptools import cli
from clamptools.replay import ENVELOPE_RATE_HZ, envelope, range_above

# Ref: 1 g RMS at 100 Hz is 9806.65 / (2 pi 100) mm/s of velocity.
VELOCITY_OF_1_G_AT_100_HZ = 9806.65 / (2 * math.pi * 100)


def replay(capsys: pytest.CaptureFixture[str], *arguments: str) -> list[dict[str, Any]]:
    code = cli.main(["replay", *arguments, "--json"])
    captured = capsys.readouterr()
    assert code == 0, captured.err
    return [json.loads(line) for line in captured.out.splitlines()]


def refusal(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """What the command says when it exits 2; nothing on standard output, no traceback."""
    assert cli.main(["replay", *arguments]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "Traceback" not in captured.err
    return captured.err


def sine(hz: float, rate_hz: float, seconds: float, rms: float, offset: float = 0) -> np.ndarray:
    t_s = np.arange(round(rate_hz * seconds)) / rate_hz
    return math.sqrt(2) * rms * np.sin(2 * np.pi * hz * t_s) + offset


@pytest.fixture
def current_csv(tmp_path: Path) -> Path:
    path = tmp_path / "current.csv"
    np.savetxt(path, sine(50, 6400, 1.1, 2.0, offset=0.25), header="I", comments="")
    return path


def test_current(capsys: pytest.CaptureFixture[str], current_csv: Path) -> None:
    lines = replay(capsys, str(current_csv), "--kind", "current", "--rate", "6400")
    assert [line["t"] for line in lines] == [0.2, 0.4, 0.6, 0.8, 1.0]
    for line in lines:
        assert set(line) == {"t", "rms", "mean", "peak", "crest", "clipped"}
        assert line["rms"] == pytest.approx(2.0, rel=5e-4)
        assert line["mean"] == pytest.approx(0.25, abs=2e-3)
        assert line["peak"] == pytest.approx(2 * math.sqrt(2), rel=2e-3)
        assert line["crest"] == pytest.approx(math.sqrt(2), rel=2e-3)
        assert line["clipped"] == 0


def test_current_beyond_the_range(capsys: pytest.CaptureFixture[str], current_csv: Path) -> None:
    lines = replay(
        capsys, str(current_csv), "--kind", "current", "--rate", "6400", "--full-scale", "2"
    )
    ideal = np.clip(sine(50, 6400, 0.2, 2.0, offset=0.25), -2, 2)
    assert lines[0]["clipped"] == pytest.approx(np.sum(np.abs(ideal) >= 2), abs=40)
    assert lines[0]["rms"] == pytest.approx(np.std(ideal), rel=1e-3)


def test_vibration(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = tmp_path / "vibration.npz"
    np.savez(path, x=sine(100, 3200, 3, 0.5).astype(np.float32), meta='{"fs": 3200, "units": "g"}')
    lines = replay(capsys, str(path), "--kind", "vibration", "--column", "x")
    assert len(lines) == 15
    for line in lines[6:]:
        assert line["rms"] == pytest.approx(0.5, rel=1e-3)
        assert line["kurtosis"] == pytest.approx(1.5, rel=1e-2)
        assert line["velocity_rms_mm_s"] == pytest.approx(
            0.5 * VELOCITY_OF_1_G_AT_100_HZ, rel=1e-2
        )
    assert lines[0]["velocity_rms_mm_s"] is None


def test_wav_with_full_scale(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = tmp_path / "clamp.wav"
    codes = np.round(sine(50, 8000, 0.4, 0.5) * 32767).astype("<i2")
    with wave.open(str(path), "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(8000)
        out.writeframes(codes.tobytes())
    lines = replay(capsys, str(path), "--kind", "current", "--full-scale", "50")
    assert [line["rms"] for line in lines] == pytest.approx([25.0, 25.0], rel=5e-4)
    assert "--full-scale" in refusal(capsys, str(path), "--kind", "current")


def test_envelope(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = tmp_path / "meter.csv"
    path.write_text("I\n1.5\n0\n8.25\n")
    arguments = [str(path), "--kind", "current", "--rate", "1"]
    lines = replay(capsys, *arguments, "--as", "envelope")
    assert [line["rms"] for line in lines] == pytest.approx(
        [1.5] * 5 + [0.0] * 5 + [8.25] * 5, rel=1e-3, abs=5e-3
    )
    assert "too few for a waveform" in refusal(capsys, *arguments)
    path.write_text("I\n-1\n")
    assert "negative" in refusal(capsys, *arguments, "--as", "envelope")


def test_lines_for_people(capsys: pytest.CaptureFixture[str], current_csv: Path) -> None:
    assert cli.main(["replay", str(current_csv), "--kind", "current", "--rate", "6400"]) == 0
    captured = capsys.readouterr()
    first = captured.out.splitlines()[0]
    assert first.startswith("    0.20 s  rms 2.00")
    assert "clipped 0" in first
    assert "MicroPython" in captured.err or "CPython" in captured.err


def test_refusals(
    capsys: pytest.CaptureFixture[str],
    current_csv: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = str(current_csv)
    assert "--rate" in refusal(capsys, path, "--kind", "current")
    assert "must be above 0" in refusal(capsys, path, "--kind", "current", "--rate", "-1")
    shown = refusal(capsys, path, "--kind", "current", "--rate", "6400", "--full-scale", "0")
    assert "must be above 0" in shown
    shown = refusal(capsys, path, "--kind", "vibration", "--rate", "6400", "--as", "envelope")
    assert "--kind current" in shown
    assert "missing.csv: No such file" in refusal(
        capsys, str(tmp_path / "missing.csv"), "--kind", "current"
    )
    short = tmp_path / "short.csv"
    short.write_text("1\n2\n")
    assert "shorter than a window" in refusal(
        capsys, str(short), "--kind", "current", "--rate", "1000"
    )
    volts = tmp_path / "volts.npz"
    np.savez(volts, u=np.ones(1000), meta='{"fs": 1000, "units": "V"}')
    assert "is in 'V'" in refusal(capsys, str(volts), "--kind", "current")
    monkeypatch.setenv("MICROPYTHON", "/bin/false")
    assert "is no MicroPython" in refusal(capsys, path, "--kind", "current", "--rate", "6400")


def test_range_above() -> None:
    assert [range_above(peak) for peak in (0.0, 0.9, 0.97, 1.0, 4.7, 9.6, 30, 0.004)] == (
        pytest.approx([1, 1, 2, 2, 5, 20, 50, 0.005])
    )


def test_envelope_holds_each_value() -> None:
    samples = np.concatenate(list(envelope(np.array([1.0, 3.0]), rate_hz=10)))
    assert samples.size == 2 * ENVELOPE_RATE_HZ / 10
    halves = samples.reshape(2, -1)
    assert np.sqrt(np.mean(halves**2, axis=1)) == pytest.approx([1.0, 3.0], rel=1e-9)
