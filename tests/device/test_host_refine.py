"""A chip's own ADC curve at start: used, or refused and told; and from samples to the table."""

import asyncio
import json
from array import array
from pathlib import Path

import numpy as np
import pytest
import test_app

from clampdevice import board, curvefile, linear, start
from clampdevice.app import App
from clampdevice.files import Files
from clampdevice.hal.sim import errors
from clampdevice.refinement import Refinement
from clampdevice.spool import Spool
from support.micropython import run_micropython

CHIP_ID = "e66118604b2f4c2a"
ADC = {"rate_hz": 6400, "slots": 2, "bits": 12, "vref_v": 3.3, "zero_lsb": 2150}
BOARD = {
    "board": "pico",
    "chip": "rp2040",
    "name": "lathe",
    "sources": {"adc": ADC},
    "channels": [{"key": "current1", "quantity": "current", "slot": 0, "a_per_v": 30}],
}
# Two minutes of a large sine into a simulated device whose converter is one board's.
FLOW = """
import asyncio
import json
import os
import sys

os.chdir(sys.argv[1])
from clampdevice import board, kernels, linear, start
from clampdevice.files import Files
from clampdevice.hal.sim.playback import Playback
from clampdevice.measure import Measurement
from clampdevice.refine import Refiner


class Clock:
    def utc_ms(self):
        return 0


with open("board.json") as file:
    config = board.check(json.load(file))
with open("samples", "rb") as file:
    adc = config["sources"]["adc"]
    source = Playback(
        file, adc["rate_hz"], 2, None, adc["zero_lsb"], (0, 4095), 0.5, 1, "rp2040-5"
    )
    measure = Measurement(config, {"adc": source}, kernels)
    lut = measure._lut
    refiner = Refiner(measure.channels, lut, "rp2040", sys.argv[2], Files(), Clock())
    told = [refiner.run({"channel": "current1", "seconds": 118})]
    measure.start(0)
    while measure.poll(measure.window_end_us):
        pass
    told.append(refiner.run({}))
    told.append(refiner.run({}))
print(json.dumps([told, lut == linear.table("rp2040")]))
"""


class _Hal:
    def unique_id(self) -> str:
        return CHIP_ID


def _config(**adc: float) -> dict:
    return board.check({**BOARD, "sources": {"adc": {**ADC, **adc}}})


def _content(
    chip_id: str = CHIP_ID, steps: tuple[int, ...] = (512, 1536, 2048, 2560, 3584)
) -> bytes:
    made = Refinement(11_520_000)
    made.stretches, made.weights = errors.curve_of("rp2040-5")
    made.stretches = tuple(made.stretches)
    made.steps = list(steps)
    made.step_lsb = 0.1
    return curvefile.pack("rp2040", chip_id, "2026-11-22", made)


@pytest.fixture(autouse=True)
def _in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def _own_table() -> array:
    table = linear.table("rp2040")
    linear.fill(table, *errors.curve_of("rp2040-5"))
    return table


def test_without_a_file_the_mean_curve_is_used_and_nothing_is_said() -> None:
    table, problem = start._make_table(_config(linearity_lsb=1.0), _Hal())
    assert (table, problem) == (linear.table("rp2040"), "")
    Files().write_file(curvefile.FILE, b"")  # forgotten
    assert start._make_table(_config(), _Hal()) == (table, "")


def test_a_chips_own_curve_is_used_and_lowers_what_the_board_states() -> None:
    Files().write_file(curvefile.FILE, _content())
    config = _config(linearity_lsb=1.0)
    table, problem = start._make_table(config, _Hal())
    assert (table, problem) == (_own_table(), "")
    left = config["sources"]["adc"]["linearity_lsb"]
    assert left == pytest.approx(curvefile.linearity_lsb(5, 0.1))
    assert 0.2 < left < 0.5
    low = _config(linearity_lsb=0.05)  # better than what the refinement can promise
    start._make_table(low, _Hal())
    assert low["sources"]["adc"]["linearity_lsb"] == 0.05
    silent = _config()  # what the board does not state is not invented
    start._make_table(silent, _Hal())
    assert "linearity_lsb" not in silent["sources"]["adc"]


def test_a_curve_with_unseen_steps_is_used_and_lowers_nothing() -> None:
    Files().write_file(curvefile.FILE, _content(steps=(1536, 2048, 2560)))
    config = _config(linearity_lsb=1.0)
    assert start._make_table(config, _Hal()) == (_own_table(), "")
    assert config["sources"]["adc"]["linearity_lsb"] == 1.0


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (_content("e66118604b2f0000"), "is of chip_id e66118604b2f0000"),
        (_content()[:-3], "damaged"),
        (b"{}\n00000000\n", "damaged"),
    ],
)
def test_another_chips_or_a_damaged_one_is_refused_and_told(content: bytes, says: str) -> None:
    Files().write_file(curvefile.FILE, content)
    table, problem = start._make_table(_config(), _Hal())
    assert table == linear.table("rp2040")
    assert says in problem


def test_no_file_matters_where_no_table_is_used() -> None:
    Files().write_file(curvefile.FILE, b"rubbish")
    config = board.check({**BOARD, "sources": {"adc": {**ADC, "linearise": "none"}}})
    assert start._make_table(config, _Hal()) == (None, "")


def test_from_samples_to_the_table_in_use(tmp_path: Path) -> None:
    """Sampler, interleaved blocks, counts, estimate, file, table: under MicroPython."""
    (tmp_path / "board.json").write_text(json.dumps(BOARD))
    t_s = np.arange(120 * 6400) / 6400
    frames = np.zeros((t_s.size, 2))
    frames[:, 0] = 640 * np.sin(2 * np.pi * 49.9634 * t_s)
    (tmp_path / "samples").write_bytes(np.rint(frames * 4096).astype("<i4").tobytes())
    script = tmp_path / "flow.py"
    script.write_text(FLOW)
    done = run_micropython(script, str(tmp_path), CHIP_ID, heap="512k")
    assert done.returncode == 0, done.output
    (counting, kept, refined), unchanged = json.loads(done.stdout.splitlines()[-1])
    assert counting["state"] == "counting"
    assert kept["state"] == "kept"
    assert refined["state"] == "refined"
    assert not unchanged
    assert refined["samples"] == 118 * 6400
    assert refined["steps"] == [2048, 2560]
    own = curvefile.unpack((tmp_path / curvefile.FILE).read_bytes(), "rp2040", CHIP_ID)
    true, weights = errors.curve_of("rp2040-5")
    for step in (3, 4):
        # With the fall of the low bits: what is at 1024 and 3072, which tells both, is not seen.
        found = own["stretches"][step][1] - own["stretches"][step - 1][2] - sum(own["weights"])
        wanted = true[step][1] - true[step - 1][2] - sum(weights)
        assert abs(found - wanted) / 64 < 3 * refined["step_lsb"] < 1


def test_a_refused_curve_is_told_as_a_fault() -> None:
    spool = Spool(4096, 32)
    app = App(board.check(test_app.CONFIG), test_app.Hal(2000), spool, None, "adccurve.json: bad")
    with pytest.raises(test_app.Stopped):
        asyncio.run(app.run())
    kept = [bytes(spool.payload(spool.oldest_seq + i)) for i in range(len(spool))]
    assert any(b"adccurve.json: bad" in payload for payload in kept)
    assert app._measure.faults == 1
