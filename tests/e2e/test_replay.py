"""Recordings of real sensors through the firmware, against reference values (issue A, 4).

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

import pytest

RMS_TOLERANCE = 0.005
VELOCITY_TOLERANCE = 0.02
SHAKER = "endaq_ssx66115_shaker100hz"
MOTOR = "itsc_motor3ph_1khz"


@pytest.fixture(scope="module")
def reference(shared_dir: Path) -> dict[str, Any]:
    return json.loads((shared_dir / "data" / "reference.json").read_text())["files"]


def replay(path: Path, kind: str, column: str) -> list[dict[str, Any]]:
    done = subprocess.run(
        [
            sys.executable, "-m", "clamptools.cli", "replay", str(path), "--kind", kind,
            "--column", column, "--json",
        ],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.mark.parametrize("sensor", ["piezo", "mems"])
def test_shaker_in_its_steady_part(
    sensor: str, reference: dict[str, Any], shared_dir: Path, report_line: Callable[[str], None]
) -> None:
    steady = reference[SHAKER]["channels"][sensor]["steady"]
    rate_hz = reference[SHAKER]["meta"]["fs"][sensor]
    start_s, end_s = (sample / rate_hz for sample in steady["samples"])
    lines = replay(shared_dir / "data" / f"{SHAKER}.npz", "vibration", f"{sensor}[:,0]")
    inside = [line for line in lines if start_s + 0.2 <= line["t"] <= end_s]
    assert len(inside) >= 10
    worst_rms = max(abs(line["rms"] / steady["rms_ac"] - 1) for line in inside)
    ideal = steady["velocity_rms_mm_s_analytic"]
    worst_velocity = max(abs(line["velocity_rms_mm_s"] / ideal - 1) for line in inside)
    report_line(
        f"replay {sensor}: RMS within {worst_rms:.4%}, velocity within {worst_velocity:.3%} "
        f"over {len(inside)} windows"
    )
    assert worst_rms < RMS_TOLERANCE
    assert worst_velocity < VELOCITY_TOLERANCE
    for line in inside:
        assert line["clipped"] == 0
        assert line["kurtosis"] == pytest.approx(steady["kurtosis"], rel=0.01)
        assert line["crest"] == pytest.approx(steady["crest"], rel=0.02)


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
