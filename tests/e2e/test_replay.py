"""Recordings of real sensors through the firmware, against reference values.

The references were computed in float64 from the same files with the definitions that stand in
reference.json; nothing of ours took part.
"""

import json
import math
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

RMS_TOLERANCE = 0.005
VELOCITY_TOLERANCE = 0.02
SHAKERS = (
    ("endaq_ssx66115_shaker100hz", "piezo", 0),
    ("endaq_ssx66115_shaker100hz", "mems", 0),
    ("endaq_ssx70065_adxl345_shaker100hz", "mems", 1),
    ("endaq_daq12006_twolevel", "piezo100g", 1),
    ("endaq_daq12006_twolevel", "mems40g", 1),
)
IMU = "emlearn_mpu6886_100hz"
IMU_LSB_PER_G = 16384
MOTOR = "itsc_motor3ph_1khz"


@pytest.fixture(scope="module")
def reference(shared_dir: Path) -> dict[str, Any]:
    return json.loads((shared_dir / "data" / "reference.json").read_text())["files"]


def replay(path: Path, kind: str, column: str, *options: str) -> list[dict[str, Any]]:
    done = subprocess.run(
        [
            sys.executable, "-m", "clamptools.cli", "replay", str(path), "--kind", kind,
            "--column", column, "--json", *options,
        ],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.mark.parametrize(("file", "sensor", "axis"), SHAKERS)
def test_shaker_in_its_steady_part(
    file: str,
    sensor: str,
    axis: int,
    reference: dict[str, Any],
    shared_dir: Path,
    report_line: Callable[[str], None],
) -> None:
    steady = reference[file]["channels"][sensor]["steady"]
    rate_hz = reference[file]["meta"]["fs"][sensor]
    start_s, end_s = (sample / rate_hz for sample in steady["samples"])
    path = shared_dir / "data" / f"{file}.npz"
    lines = replay(path, "vibration", f"{sensor}[:,{axis}]", "--against", "none")
    inside = [line for line in lines if start_s + 0.2 <= line["t"] <= end_s]
    assert len(inside) >= 10
    worst_rms = max(abs(line["rms"] / steady["rms_ac"] - 1) for line in inside)
    ideal = steady["velocity_rms_mm_s_analytic"]
    worst_velocity = max(abs(line["velocity_rms_mm_s"] / ideal - 1) for line in inside)
    report_line(
        f"replay {file} {sensor}: RMS within {worst_rms:.4%}, "
        f"velocity within {worst_velocity:.3%} over {len(inside)} windows"
    )
    assert worst_rms < RMS_TOLERANCE
    assert worst_velocity < VELOCITY_TOLERANCE
    for line in inside:
        assert line["clipped"] == 0
        assert line["kurtosis"] == pytest.approx(steady["kurtosis"], rel=0.01)
        assert line["crest"] == pytest.approx(steady["crest"], rel=0.02)


def test_two_sensors_that_disagree_are_flagged(
    reference: dict[str, Any], shared_dir: Path, report_line: Callable[[str], None]
) -> None:
    file = "endaq_daq12006_twolevel"
    steady = [reference[file]["channels"][name]["steady"] for name in ("piezo100g", "mems40g")]
    wanted = [part["rms_ac"] for part in steady]
    path = shared_dir / "data" / f"{file}.npz"
    *windows, last = replay(path, "vibration", "piezo100g[:,1]")
    said = last["sensors"]
    assert said["columns"] == ["piezo100g[:,1]", "mems40g[:,1]"]
    assert said["agree"] is False
    assert said["rms"] == pytest.approx(wanted, rel=RMS_TOLERANCE)
    assert said["ratio"] == pytest.approx(wanted[1] / wanted[0], rel=RMS_TOLERANCE)
    assert said["ratio"] > said["limit"] == 1.1
    assert "Not averaged" in said["why"]
    # Every window is the chosen sensor's own: none is near the mean of the two.
    assert max(line["rms"] for line in windows) < 1.02 * wanted[0] < sum(wanted) / 2
    *windows, last = replay(path, "vibration", "mems40g[:,1]")
    assert last["sensors"]["agree"] is False
    assert max(line["rms"] for line in windows) == pytest.approx(wanted[1], rel=RMS_TOLERANCE)
    report_line(f"replay {file}: {last['sensors']['why']}")


def test_two_sensors_that_agree_and_two_at_rest(
    reference: dict[str, Any], shared_dir: Path
) -> None:
    file = "endaq_ssx66115_shaker100hz"
    wanted = [reference[file]["channels"][s]["steady"]["rms_ac"] for s in ("piezo", "mems")]
    last = replay(shared_dir / "data" / f"{file}.npz", "vibration", "piezo[:,0]")[-1]
    assert last["sensors"]["agree"] is True
    assert last["sensors"]["rms"] == pytest.approx(wanted, rel=RMS_TOLERANCE)
    # At rest each has its own noise, by a factor of 1.5: no evidence of a gain.
    path = shared_dir / "data" / "endaq_xs5e25d40_noisefloor.npz"
    assert replay(path, "vibration", "piezo[:,2]")[-1]["sensors"]["agree"] is None


def test_idle_imu_in_16_bit_counts(
    reference: dict[str, Any], shared_dir: Path, report_line: Callable[[str], None]
) -> None:
    # 32767 is what is stated, 32768 codes are the converter's: up to half an LSB more at 1 g.
    lsb_g = 1 / IMU_LSB_PER_G
    path = shared_dir / "data" / f"{IMU}.npz"
    counts = np.load(path)
    off = {"mean": 0.0, "rms": 0.0, "peak": 0.0}
    for name, axes in reference[IMU]["channels"].items():
        for axis, letter in enumerate("XYZ"):
            wanted = axes[letter]
            lines = replay(
                path, "vibration", f"{name}[:,{axis}]", "--full-scale", str(32767 * lsb_g)
            )
            assert len(lines) == wanted["n"] / 20
            assert all(line["clipped"] == 0 for line in lines)
            means, levels, peaks = (
                np.array([line[key] for line in lines]) for key in ("mean", "rms", "peak")
            )
            # Windows are around their own means; the whole has in addition what these differ by.
            rms = np.sqrt(np.mean(levels**2 + (means - means.mean()) ** 2))
            off["mean"] = max(off["mean"], abs(means.mean() - wanted["mean"]))
            off["rms"] = max(off["rms"], abs(rms - wanted["rms_ac"]))
            # A peak of the whole cannot be had from those of windows: the reference ties the
            # file's own, in float64, and they tie the windows.
            g = counts[name][:, axis] * lsb_g
            assert np.max(np.abs(g - g.mean())) == pytest.approx(wanted["peak"], rel=1e-9)
            windows = g.reshape(-1, 20)
            true = np.max(np.abs(windows - windows.mean(axis=1, keepdims=True)), axis=1)
            off["peak"] = max(off["peak"], float(np.max(np.abs(peaks - true))))
            assert abs(peaks.max() - wanted["peak"]) <= np.ptp(means) + lsb_g
    report_line(
        "replay emlearn idle, 12 columns: "
        + ", ".join(f"{key} within {value / lsb_g:.2f} LSB" for key, value in off.items())
    )
    assert off["mean"] < 0.5 * lsb_g
    assert off["rms"] < 0.5 * lsb_g
    assert off["peak"] < 1.0 * lsb_g


@pytest.mark.parametrize(
    ("array", "phase"), [("ITSC_HLT", 0), ("ITSC_HLT", 1), ("ITSC_HLT", 2), ("ITSC_A40", 0)]
)
def test_motor_window_by_window(
    array: str,
    phase: int,
    reference: dict[str, Any],
    shared_dir: Path,
    report_line: Callable[[str], None],
) -> None:
    wanted = reference[MOTOR]["channels"][array][f"rep1_phase{'ABC'[phase]}"]
    windows = wanted["windows_12cycle_200ms"]
    at = {name: i for i, name in enumerate(windows["columns"])}
    path = shared_dir / "data" / f"{MOTOR}.npz"
    lines = replay(path, "current", f"{array}[0,:,{phase}]")
    assert len(lines) == len(windows["rows"]) == 5
    worst = 0.0
    for line, row in zip(lines, windows["rows"], strict=True):
        worst = max(worst, abs(line["rms"] / row[at["rms_ac"]] - 1))
        assert line["peak"] == pytest.approx(row[at["peak_ac"]], rel=RMS_TOLERANCE)
        assert line["crest"] == pytest.approx(line["peak"] / line["rms"], rel=1e-3)
        assert (line["clipped"], math.isfinite(line["mean"])) == (0, True)
    report_line(f"replay {array} phase {'ABC'[phase]}: RMS within {worst:.4%}")
    assert worst < RMS_TOLERANCE


def test_several_arrays_are_listed(shared_dir: Path) -> None:
    done = subprocess.run(
        [
            sys.executable, "-m", "clamptools.cli", "replay",
            str(shared_dir / "data" / f"{MOTOR}.npz"), "--kind", "current",
        ],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert "ITSC_HLT" in done.stderr
    assert "(5, 1000, 3)" in done.stderr
    assert done.stdout == ""
