"""Which machines a demo has: a lathe, a laser cutter, a 3D printer, and again with other seeds."""

from __future__ import annotations

from collections.abc import Iterable

from clamptools.boards import read_board
from clamptools.demo.devices import Plan, SimulatedDevice
from clamptools.machines import MACHINES, board_of, scenario
from clamptools.truth import Truth

# As many were tried at true rates on two processor cores; a gateway takes many more.
MACHINES_MAX = 24


def plans(count: int) -> list[Plan]:
    """The first `count` machines, each with a name of its own."""
    found: list[Plan] = []
    for number in range(count):
        kind = MACHINES[number % len(MACHINES)]
        seed = 1 + number // len(MACHINES)
        board = read_board(board_of(kind))
        if seed > 1:
            board["name"] += str(seed)
        found.append(Plan(board, scenario(kind, seed)))
    return found


def truths(devices: Iterable[SimulatedDevice]) -> dict[str, Truth]:
    """The ideal waveforms, by device name."""
    return {device.name: Truth(device.scenario, device.board) for device in devices}
