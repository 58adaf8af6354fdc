"""Divides a blank board's flash: files in front, and behind them the ring that keeps 24 hours.

Once for each board, before its files are copied. Erases the files that are there if --yes is
given, resets the board and looks whether it comes up with the smaller file system. A board that
is divided as asked is left as it is.
"""

from __future__ import annotations

import argparse
import json

from clamptools.boardlayout import Layout, layout_of
from clamptools.boardprompt import Prompt
from clamptools.boards import read_board
from clamptools.boardstorage import Storage, prepare
from clamptools.errors import UserError

EXAMPLE = """
clampwork prepare /dev/ttyACM0 --board pico
clampwork prepare /dev/ttyACM0 --board pico --yes
clampwork prepare /dev/ttyACM0 --board boards/my-pico.toml --json
"""
_NO_RAW_FLASH = (
    "its spool is in RAM alone, since the flash of an ESP32 is divided by the partition table "
    "that comes with MicroPython, and a write to it stops both cores: nothing to prepare"
)


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("port", metavar="PORT", help="serial port of the board: /dev/ttyACM0")
    parser.add_argument(
        "--board", required=True, metavar="NAME", help="which board it is to be, or its TOML file"
    )
    parser.add_argument("--yes", action="store_true", help="erase the files that are on it")
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(args: argparse.Namespace) -> int:
    board = read_board(args.board)
    if board["chip"] == "sim":
        raise UserError(f"board {board['board']} runs on a computer: there is no flash to prepare")
    if board["chip"] == "esp32":
        return _nothing(args, board["board"], _NO_RAW_FLASH)
    layout = layout_of(board)
    if layout is None:
        return _nothing(
            args,
            board["board"],
            "its file asks for no ring in flash (spool.flash_start, spool.flash_bytes): nothing "
            "to prepare",
        )
    storage, changed = prepare(Prompt(args.port), board, layout, args.yes)
    if args.json:
        print(json.dumps(_facts(storage, layout, changed)))
    else:
        print(_text(args.port, storage, layout, changed))
    return 0


def _nothing(args: argparse.Namespace, board: str, why: str) -> int:
    if args.json:
        print(json.dumps({"changed": False, "reason": why}))
    else:
        print(f"board {board}: {why}")
    return 0


def _facts(storage: Storage, layout: Layout, changed: bool) -> dict[str, object]:
    return {
        "changed": changed,
        "machine": storage.machine,
        "micropython": ".".join(map(str, storage.version)),
        "storage_bytes": storage.bytes,
        "files_bytes": layout.files_bytes,
        "files_free_bytes": storage.free,
        "ring_start": layout.ring_start,
        "ring_bytes": layout.ring_bytes,
    }


def _text(port: str, storage: Storage, layout: Layout, changed: bool) -> str:
    version = ".".join(map(str, storage.version))
    done = "prepared; copy the files now" if changed else "prepared already: nothing was changed"
    return (
        f"{port}: {storage.machine}, MicroPython {version}\n"
        f"files {layout.files_bytes // 1024} KB, {storage.free // 1024} KB free; "
        f"ring {layout.ring_bytes // 1024} KB of {storage.bytes // 1024} KB\n"
        f"{done}"
    )
