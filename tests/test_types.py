"""The type checks of device/ see each port's own modules, and no other port's.

A planted file a port, because a wrong search path makes pyright find nothing and say nothing.
"""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from support.skips import ROOT

CHECKED = """import rp2
import esp32
import machine

machine.Pin(0, no_such=1)
"""
LEFT_OUT = "import nothing_at_all\n"


@pytest.mark.parametrize(("port", "other"), [("rp2", "esp32"), ("esp32", "rp2")])
def test_a_port_is_checked_against_its_own_stubs(tmp_path: Path, port: str, other: str) -> None:
    typings = ROOT / "typings" / port
    if not (typings / ".stamp").is_file():
        pytest.skip(f"no type stubs in typings/{port}: make check installs them")
    config = json.loads((ROOT / f"pyrightconfig.{port}.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "typings").symlink_to(ROOT / "typings")
    for name in config["include"]:
        target = tmp_path / name
        (target.parent if target.suffix else target).mkdir(parents=True, exist_ok=True)
        if target.suffix:
            target.write_text("")
    hal = tmp_path / "device/clampdevice/hal"
    hal.mkdir(parents=True)
    (hal.parent / "sampler.py").write_text(CHECKED)
    (hal / f"{port}.py").write_text(CHECKED)
    (hal / f"{other}.py").write_text(LEFT_OUT)
    (hal.parent / "sum_thumb.py").write_text(LEFT_OUT)

    command = [sys.executable, "-m", "pyright", "--warnings", "-p", str(tmp_path / "config.json")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
    found = re.findall(r"(\w+\.py):(\d+):\d+ - error: (.*)", done.stdout)
    assert done.returncode == 1, done.stdout + done.stderr
    assert {(file, line) for file, line, _ in found} >= {("sampler.py", "5"), (f"{port}.py", "5")}
    missing = {file for file, _, text in found if text.startswith(f'Import "{other}"')}
    assert "sampler.py" in missing, done.stdout
    assert not any(f'Import "{port}"' in text for _, _, text in found), done.stdout
    assert {file for file, _, _ in found} == {"sampler.py", f"{port}.py"}, done.stdout
