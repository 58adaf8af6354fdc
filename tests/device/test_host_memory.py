"""What a board holds in memory: modules by its configuration, names by what ships.

The figures themselves, on the emulated Pico, are in docs/memory.md.
"""

import ast
import importlib
import importlib.util
import json
import re
from pathlib import Path
from types import ModuleType

import pytest

from support.micropython import run_micropython
from support.skips import ROOT

DRIVER = """
import json
import os
import sys

os.chdir(sys.argv[1])
from clampdevice import start


def ours():
    return sorted(name for name in sys.modules if name.startswith("clamp"))


config = start._read_board()
app = start._make_app(config, start.open_hal(config))
told = {"built": ours()}
measure = app._measure
now_us = 0
measure.start(now_us)
records = []
measure.on_record = lambda *fields: (app._record(*fields), records.append(fields[0]))
while now_us < 3100000:
    now_us += 20000
    while measure.poll(now_us):
        pass
told["records"] = len(records)
told["sampled"] = ours()
commands = app._link._commands
told["answers"] = []
with open("commands.json") as file:
    asked = json.load(file)
for name, args in asked:
    status, body = commands.run(name, json.dumps(args).encode())
    told["answers"].append([name, status, body])
told["commanded"] = ours()
print(json.dumps(told))
"""
ADC = {"rate_hz": 6400, "slots": 4, "bits": 12, "vref_v": 3.3, "zero_lsb": 2110}
CURRENT = {"quantity": "current", "a_per_v": 30, "noise_floor": 0.02, "uncertainty_pct": 0.5}
CURRENTS = {
    "board": "pico",
    "chip": "rp2040",
    "name": "lathe",
    "spool": {"ram_bytes": 8192, "ram_items": 64},
    "sources": {"adc": {**ADC, "temperature_slot": 3}, "inputs": {"pins": [15]}},
    "channels": [
        *({**CURRENT, "key": f"current{slot + 1}", "slot": slot} for slot in range(3)),
        {"key": "input1", "quantity": "input", "index": 0},
    ],
}
SCENARIO = {
    "seed": 1,
    "mains_hz": 50,
    "temperature_c": 30,
    "waves": {"run": {f"current{n}": [[1, 1.0, 0]] for n in (1, 2, 3)}},
    "timeline": [
        {
            "wave": "run",
            "ms": 1000,
            "levels": {f"current{n}": [3000] for n in (1, 2, 3)},
            "inputs": {"input1": 1},
        }
    ],
}
# Each is somebody's who asked for it; a board for currents and inputs asks for none.
ASKED_FOR = {
    "frequency": ("mains", "frequency", "kernels.viper_filter", "kernels.design"),
    "h3": ("harmonics",),
    "charge": ("counters",),
    "learn": ("judges", "states", "learner", "learn"),
    "vibration": ("vibration", "vibrationnames", "kernels.viper_velocity"),
    "kurtosis_z": ("kernels.viper_moments",),
    "ratio_band1": ("vibrationextra", "spectrum", "baseline", "severity", "kernels.viper_fft"),
    "voltage": ("voltage", "power"),
    "role": ("lamps",),
}
# Of these a board needs each for a moment: at start, for a command, in an hour.
NEEDED_ONCE = (
    "board", "names", "linear", "ctclass", "calibrationcheck", "service", "reports", "floor",
    "refine", "refinement", "codedensity", "curvefile", "kernels.velocityfilter",
)  # fmt: skip
NEVER = ("simulate", "replay", "kernels.reference", "kernels.reference_block")
COMMANDS = [
    ["status", {}],
    ["why", {}],
    ["calibration", {"channel": "current1"}],
    ["calibrate", {"channel": "current1", "reference_value": 3.1}],
    ["measure_floor", {"channel": "current1"}],
    ["uncertainty", {"channel": "current2"}],
    ["counters", {}],
    ["refine", {"slot": 0, "seconds": 5}],
    ["refine", {}],
]


def run(folder: Path, board: dict, commands: list | None = None) -> dict:
    """What the firmware says that it has loaded, under MicroPython."""
    (folder / "board.json").write_text(json.dumps(board))
    (folder / "scenario.json").write_text(json.dumps(SCENARIO))
    # Not by the command line: MicroPython takes 255 bytes of an argument.
    (folder / "commands.json").write_text(json.dumps(commands or []))
    driver = folder / "driver.py"
    driver.write_text(DRIVER)
    done = run_micropython(driver, str(folder), heap="512k")
    assert done.returncode == 0, done.output
    return json.loads(done.stdout.splitlines()[-1])


def found(names: tuple, loaded: list) -> list:
    return [name for name in names if f"clampdevice.{name}" in loaded]


def test_a_board_for_currents_loads_nothing_that_it_did_not_ask_for(tmp_path: Path) -> None:
    told = run(tmp_path, CURRENTS, COMMANDS)
    forbidden = sum(ASKED_FOR.values(), ()) + NEEDED_ONCE + NEVER
    assert not found(forbidden, told["built"])
    assert told["records"] == 3
    assert told["sampled"] == told["built"], "a module was loaded while sampling"
    # Commands run, and leave nothing behind.
    assert told["commanded"] == told["built"]
    assert [status for _name, status, _body in told["answers"]] == [0, 0, 0, 0, 2, 0, 0, 2, 0]
    answers = {name: body for name, _status, body in told["answers"]}
    assert answers["calibrate"]["gain"] == pytest.approx(3.1 / 3.0, rel=0.01)
    assert "is no noise" in answers["measure_floor"]["error"]
    assert answers["status"]["heap_free"] > 0
    assert answers["refine"] == {"state": "mean", "chip": "rp2040"}


@pytest.mark.parametrize("asked", ["frequency", "h3", "charge", "learn"])
def test_what_is_asked_for_is_loaded_before_sampling(tmp_path: Path, asked: str) -> None:
    """That the list above is no list of names that nobody ever loads."""
    board = json.loads(json.dumps(CURRENTS))
    if asked == "learn":
        board["state"] = {"learn": {}}
    else:
        board["channels"][0]["features"] = ["rms", asked]
    told = run(tmp_path, board)
    wanted = ASKED_FOR[asked]
    assert found(wanted, told["built"]) == list(wanted)
    assert not found(NEEDED_ONCE[:1] + NEEDED_ONCE[2:], told["built"])  # harmonics share `names`
    assert told["records"] == 3
    assert told["sampled"] == told["built"], "a module was loaded while sampling"


def test_every_name_in_the_lists_is_a_module() -> None:
    for name in sum(ASKED_FOR.values(), ()) + NEEDED_ONCE + NEVER:
        assert (ROOT / "device/clampdevice" / (name.replace(".", "/") + ".py")).is_file(), name


def test_private_numbers_of_a_module_are_its_own() -> None:
    """They are folded into the code that ships (hil/firmware.py), so nobody else may read them."""
    for path in (ROOT / "device").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = []
            if isinstance(node, ast.ImportFrom):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.Attribute):
                names = [node.attr]
            wrong = [name for name in names if name.startswith("_") and name.isupper()]
            assert not wrong, f"{path.name}: {wrong}"


def shipping() -> ModuleType:
    """hil/firmware.py, which is in no package."""
    spec = importlib.util.spec_from_file_location("shipping", ROOT / "hil/firmware.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_only_private_whole_numbers_that_never_change_are_folded() -> None:
    source = (
        "_BITS = 4  # why\n_ONE = 1 << _BITS\n_RATE = 0.5\n_TEXT = 'x'\nWIDTH = 8\n"
        "_LIVE = 1\n_FROM = WIDTH + 1\n\n\ndef f():\n    global _LIVE\n    _LIVE = 2\n"
    )
    lines = shipping().folded(source).splitlines()
    assert lines[:2] == ["_BITS = const(4)", "_ONE = const(16)"]
    assert lines[2:] == source.splitlines()[2:]


@pytest.mark.parametrize(
    "name",
    [
        "hal.rp2.adc",
        "hal.rp2.converter",
        "hal.rp2.entries",
        "kernels.velocityfilter",
        "link",
        "sampler",
        "spool",
    ],
)
def test_the_firmware_folds_to_the_numbers_that_it_has(name: str) -> None:
    module = importlib.import_module(f"clampdevice.{name}")
    assert module.__file__ is not None
    source = Path(module.__file__).read_text()
    result = shipping().folded(source)
    assert len(result.splitlines()) == len(source.splitlines())
    consts = re.findall(r"^(_[A-Z_0-9]+) = const\((-?\d+)\)$", result, re.MULTILINE)
    assert consts
    for constant, value in consts:
        assert getattr(module, constant) == int(value), constant
