"""`clampwork prepare` against boards at a pty: mpremote and littlefs are the real ones."""

import json
import os
import tty
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import serial

from clampdevice.hal.rp2 import flash as on_device
from clamptools import boardlayout, boardprompt, boardstorage, cli
from clamptools.boardlayout import FRONT_BYTES, SECTOR, Layout, layout_of
from clamptools.boards import board_names, read_board
from clamptools.data import boards_dir
from support.promptboard import PICO, PromptBoard

STORAGE = 1408 * 1024
SMALL = 64 * SECTOR
LAYOUT = Layout(34 * SECTOR, 20 * SECTOR)


@pytest.fixture
def wired(tmp_path: Path) -> Callable[..., PromptBoard]:
    """Makes boards whose port has a name of its own."""

    def make(storage: int = STORAGE, **about: str) -> PromptBoard:
        return PromptBoard(tmp_path, storage, **about)

    return make


def prepare(board: PromptBoard, *options: str, name: str = "pico") -> int:
    return cli.main(["prepare", board.port, "--board", name, *options])


def state(board: PromptBoard, code: str) -> str:
    """What code prints on the board after a start."""
    return board.run(code).partition(b"\x04")[0].decode().strip()


def wrote(name: str, size: int) -> str:
    """Code that writes a file."""
    return f"with open({name!r}, 'w') as file:\n    file.write('x' * {size})\n"


def test_a_blank_board_is_divided_once(
    wired: Callable[..., PromptBoard], capsys: pytest.CaptureFixture[str]
) -> None:
    with wired() as board:
        marked = bytes(range(256)) * (SECTOR // 256)
        with board.flash.open("r+b") as file:
            file.seek(STORAGE - SECTOR)
            file.write(marked)
        assert prepare(board, "--json") == 0
        told = json.loads(capsys.readouterr().out)
        assert told["changed"] is True
        assert told["storage_bytes"] == STORAGE
        assert told["files_bytes"] == told["ring_start"] - FRONT_BYTES
        assert board.resets == 1
        assert board.flash.read_bytes()[-SECTOR:] == marked
        assert prepare(board) == 0
        out = capsys.readouterr().out
        assert "prepared already" in out
        assert PICO in out
        assert board.resets == 1
        # What the firmware asks before it uses the ring.
        about = state(board, "import os; print(tuple(os.statvfs('/')))")
        file_system = tuple(json.loads(about.replace("(", "[").replace(")", "]")))
        sectors = STORAGE // SECTOR
        ring = (told["ring_start"], told["ring_bytes"])
        assert on_device.ring_problem(*ring, sectors, file_system) == ""


def test_files_are_erased_only_on_demand(
    wired: Callable[..., PromptBoard], capsys: pytest.CaptureFixture[str]
) -> None:
    with wired() as board:
        state(board, "import os; os.mkdir('/lib')\n" + wrote("/lib/a.py", 700))
        before = board.flash.read_bytes()
        assert prepare(board) == 2
        err = capsys.readouterr().err
        assert "700 bytes in 1 files would be erased" in err
        assert "/lib/a.py" in err
        assert "--yes" in err
        assert board.flash.read_bytes() == before
        assert board.resets == 0
        assert prepare(board, "--yes") == 0
        assert state(board, "import os; print(os.listdir('/'))") == "[]"
        # Files of a prepared board stay; a ring of another size asks again.
        state(board, wrote("/main.py", 4))
        assert prepare(board) == 0
        assert state(board, "import os; print(os.listdir('/'))") == "['main.py']"


def test_a_ring_of_another_size_is_asked_for(
    wired: Callable[..., PromptBoard], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = (boards_dir() / "pico.toml").read_text()
    assert "flash_start = 917504" in text
    other = tmp_path / "pico2.toml"
    other.write_text(
        text.replace("flash_start = 917504", "flash_start = 851968").replace(
            'name = "pico"', 'name = "pico2"', 1
        )
    )
    with wired() as board:
        assert prepare(board) == 0
        state(board, wrote("/main.py", 4))
        assert prepare(board, name=str(other)) == 2
        assert "another place or size" in capsys.readouterr().err
        assert prepare(board, "--yes", name=str(other)) == 0
        about = state(board, "import os; s = os.statvfs('/'); print(s[1] * s[2])")
        assert int(about) == 851968 - FRONT_BYTES


def test_a_file_system_that_is_only_made_smaller_does_not_survive_a_start(
    wired: Callable[..., PromptBoard],
) -> None:
    with wired(SMALL) as board:
        made = state(
            board,
            "import os, rp2, vfs\n"
            "vfs.umount('/')\n"
            "part = rp2.Flash(start=0, len=131072)\n"
            "vfs.VfsLfs2.mkfs(part, progsize=256)\n"
            "vfs.mount(vfs.VfsLfs2(part, progsize=256), '/')\n"
            + wrote("/kept", 1)
            + "print(os.statvfs('/')[2], os.listdir('/'))",
        )
        assert made == "32 ['kept']"
        assert state(board, "import os; print(os.statvfs('/')[2], os.listdir('/'))") == "64 []"


def test_a_full_file_system_stays_within_its_bounds(wired: Callable[..., PromptBoard]) -> None:
    with wired(SMALL) as board:
        assert state(board, LAYOUT.make) == boardprompt.MARK + "2"
        behind = LAYOUT.ring_start
        pattern = os.urandom(SMALL - behind)
        with board.flash.open("r+b") as file:
            file.seek(behind)
            file.write(pattern)
        front = board.flash.read_bytes()[:FRONT_BYTES]
        full = (
            "n = 0\n"
            "try:\n"
            "    while True:\n"
            "        with open('/%d' % n, 'w') as file:\n"
            "            file.write('x' * 6000)\n"
            "        n += 1\n"
            "except OSError as error:\n"
            "    print(n, error.errno)"
        )
        count, errno = state(board, full).split()
        assert errno == "28"  # ENOSPC
        assert int(count) >= 12
        # Erased, and written again from another start of the allocator.
        for _ in range(2):
            state(board, "import os\nfor name in os.listdir('/'):\n    os.remove('/' + name)")
            state(board, full)
        data = board.flash.read_bytes()
        assert data[behind:] == pattern
        assert data[:FRONT_BYTES] == front


def test_a_power_cut_at_any_operation_is_put_right_by_another_run(
    wired: Callable[..., PromptBoard],
) -> None:
    with wired(SMALL) as board:
        state(board, wrote("/old", 5000))
        before = board.flash.read_bytes()
        prompt = boardprompt.Prompt(board.port)
        seen = set()
        operations = 0
        while True:
            board.flash.write_bytes(before)
            board.cut_after = operations
            if state(board, LAYOUT.make).endswith(boardprompt.MARK + "2"):
                break
            found = state(board, "import os; s = os.statvfs('/'); print(s[1] * s[2])")
            seen.add(found)
            assert state(board, LAYOUT.make).endswith(boardprompt.MARK + "2")
            again = state(board, "import os; s = os.statvfs('/'); print(s[1] * s[2])")
            assert int(again) == LAYOUT.files_bytes
            operations += 1
        assert operations >= 10
        assert str(SMALL) in seen
        found = boardstorage.look(prompt, read_board("pico"), LAYOUT)
        assert found.is_prepared(LAYOUT)


def test_a_board_that_does_not_keep_it_is_told(
    wired: Callable[..., PromptBoard],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with wired() as board:
        blank = board.flash.read_bytes()
        run = board.run

        def forgets(code: str) -> bytes:
            if "machine.reset()" in code:
                board.flash.write_bytes(blank[:-1] + b"\0")
            return run(code)

        monkeypatch.setattr(board, "run", forgets)
        assert prepare(board) == 2
        err = capsys.readouterr().err
        assert f"a file system of {STORAGE} bytes" in err
        assert "behind the files was changed" in err


@pytest.mark.parametrize(
    ("about", "name", "storage", "words"),
    [
        ({"machine": "Raspberry Pi Pico2 with RP2350"}, "pico", STORAGE, "for the chip rp2040"),
        ({"machine": "Generic ESP32 module with ESP32"}, "pico", STORAGE, "for the chip rp2040"),
        ({"version": "1.23.0"}, "pico", STORAGE, "1.24 or later"),
        ({}, "pico", 848 * 1024, "has 848 KB of storage"),
    ],
    ids=["rp2350", "esp32", "old", "pico-w"],
)
def test_a_board_that_cannot_take_it_is_left_as_it_is(
    about: dict[str, str],
    name: str,
    storage: int,
    words: str,
    wired: Callable[..., PromptBoard],
    capsys: pytest.CaptureFixture[str],
) -> None:
    with wired(storage, **about) as board:
        assert prepare(board, "--yes", name=name) == 2
        assert words in capsys.readouterr().err
        assert board.ran == 1


def test_boards_without_a_ring_say_so_and_touch_no_port(
    capsys: pytest.CaptureFixture[str],
) -> None:
    nowhere = ["prepare", "/dev/no-such-port", "--board"]
    assert cli.main([*nowhere, "esp32-devkitc"]) == 0
    assert "partition table" in capsys.readouterr().out
    assert cli.main([*nowhere, "pico-adxl345", "--json"]) == 0
    assert "no ring in flash" in json.loads(capsys.readouterr().out)["reason"]
    assert cli.main([*nowhere, "sim-lathe"]) == 2
    assert "runs on a computer" in capsys.readouterr().err


def test_no_port(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["prepare", "/dev/no-such-port", "--board", "pico"]) == 2
    assert "/dev/no-such-port: there is no such port" in capsys.readouterr().err


def test_a_port_that_another_program_holds(
    wired: Callable[..., PromptBoard], capsys: pytest.CaptureFixture[str]
) -> None:
    with wired() as board, serial.Serial(board.port, exclusive=True):
        assert prepare(board) == 2
    err = capsys.readouterr().err
    assert "another program holds it" in err
    assert "clampwork gateway release" in err


def test_what_answers_is_no_micropython(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    master, slave = os.openpty()
    tty.setraw(slave)
    port = tmp_path / "ttyUSB0"  # mpremote waits for ever for a pty that it knows as one
    port.symlink_to(os.ttyname(slave))
    try:
        assert cli.main(["prepare", str(port), "--board", "pico"]) == 2
    finally:
        os.close(master)
        os.close(slave)
    assert "no MicroPython answers" in capsys.readouterr().err


def test_an_error_on_the_board_reaches_the_user(wired: Callable[..., PromptBoard]) -> None:
    with wired() as board:
        prompt = boardprompt.Prompt(board.port)
        with pytest.raises(boardprompt.PromptError, match="ValueError: nonsense"):
            prompt.run("raise ValueError('nonsense')")
        with pytest.raises(boardprompt.PromptError, match="gave no answer: hello"):
            prompt.run("print('hello')")


def test_tools_and_firmware_agree_on_the_layout() -> None:
    assert (SECTOR, FRONT_BYTES) == (on_device.SECTOR, on_device.FRONT_BYTES)
    largest = Layout((1 << 24) - 20480, 20480)
    assert len(largest.boot) <= boardlayout.BOOT_MOST_BYTES


@pytest.mark.parametrize("name", board_names())
def test_each_ring_of_ours_leaves_room_and_keeps_a_day(name: str) -> None:
    board: dict[str, Any] = read_board(name)
    layout = layout_of(board)
    if layout is None:
        return
    assert board["chip"] == "rp2040", "the storage of other chips has to be added here"
    assert layout.ring_start + layout.ring_bytes <= STORAGE
    # docs/spool.md: 24 h of the default record take 460 KB.
    assert layout.ring_bytes >= 460 * 1024
