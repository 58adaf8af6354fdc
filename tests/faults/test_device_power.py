"""A device's power cut at every operation of its flash: ring, layers, files, boot number.

The ring and the layers run here in runs longer than a board's heap; the same tests run shorter
under MicroPython with the device's own. Files are on a real littlefs, under MicroPython.
"""

from __future__ import annotations

import json
import time
from pathlib import Path

import fakes_history
import test_bootcount
import test_flashring

from support.faulttable import FaultTable
from support.micropython import run_micropython

SCRIPT = Path(__file__).parent.parent / "device" / "littlefs_cuts.py"
HEAP = "1m"


def test_flash_ring_cut_at_every_operation(faults: FaultTable) -> None:
    images = sum(test_flashring.cut_everywhere(seed, 150).images for seed in (3, 4))
    faults.add("device: cut in a flash operation of the ring", images, 0, 0, crash_images=True)


def test_flash_ring_over_many_lives(faults: FaultTable) -> None:
    lives = 120
    operations = [test_flashring.live_and_die(seed, lives) for seed in (3, 4)]
    assert min(operations) > lives
    faults.add("device: power-ups on one ring, each cut", 2 * lives, 0, 0)


def test_layers_of_memory_cut_at_every_operation(faults: FaultTable) -> None:
    begun = time.perf_counter()
    counts = fakes_history.cut_everywhere(3, 60)
    took = (time.perf_counter() - begun) / counts["images"]
    assert counts["condensed"] > counts["images"], "an outage long enough to be condensed"
    faults.add(
        "device: cut in an outage, all delivered after",
        counts["images"],
        0,
        0,
        counts["announced"],
        took,
        crash_images=True,
    )


def test_files_on_littlefs_cut_at_every_operation(faults: FaultTable) -> None:
    run = run_micropython(SCRIPT, heap=HEAP)
    assert run.returncode == 0, run.output
    counts = json.loads(run.stdout)
    assert counts["images"] == 4 * counts["operations"]
    faults.add(
        "device: cut in a write of boot, counters, calibration",
        counts["images"],
        0,
        0,
        crash_images=True,
    )


def test_the_littlefs_run_can_fail() -> None:
    run = run_micropython(SCRIPT, "planted", heap=HEAP)
    assert run.returncode != 0
    assert "AssertionError" in run.output


def test_boot_number_cut_in_every_byte(faults: FaultTable) -> None:
    test_bootcount.test_a_cut_in_a_write_leaves_the_number_before_or_the_new_one()
    faults.add("device: cut in a write of the boot number", 40 * 9 * 4, 0, 0)
