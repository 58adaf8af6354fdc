"""The import rules of the design, held against the checkout, and against planted violations."""

from pathlib import Path

import pytest

from support.architecture import MAX_LINES, SUPERVISORS, violations

GATEWAY = "gateway/clampgateway"
DEVICE = "device/clampdevice"
BROAD = "try:\n    work()\nexcept {}:\n    {}\n"

# name, file, its text, and a part of the one line that must come out.
PLANTED = [
    ("gateway-device", f"{GATEWAY}/app.py", "import clampdevice.app", "imports clampdevice.app"),
    ("gateway-tools", f"{GATEWAY}/app.py", "import clamptools", "imports clamptools"),
    ("device-gateway", f"{DEVICE}/app.py", "from clampgateway import model", "clampgateway.model"),
    ("tools-device", "tools/clamptools/demo.py", "import clampdevice", "imports clampdevice"),
    ("wire-ours", "device/clampwire/codec.py", "import clampdevice.app", "imports clampdevice"),
    ("wire-json", "device/clampwire/codec.py", "import json", "clampwire imports json"),
    (
        "wire-collections",
        "device/clampwire/codec.py",
        "from collections import OrderedDict",
        "imports collections.OrderedDict",
    ),
    ("up", f"{GATEWAY}/store.py", "from clampgateway.api import x", "store imports api"),
    ("up-lazy", f"{GATEWAY}/model.py", "def f():\n    import clampgateway.link", "model imports"),
    ("same-layer", f"{GATEWAY}/feed.py", "from clampgateway import store", "feed imports store"),
    (
        "same-layer-folder",
        f"{GATEWAY}/bridges/mqtt.py",
        "from clampgateway.sources import serial",
        "bridges imports sources",
    ),
    ("no-layer", f"{GATEWAY}/helpers.py", "", "helpers is in no layer"),
    (
        "bridge-sibling",
        f"{GATEWAY}/bridges/mqtt.py",
        "from clampgateway.bridges.modbus import x",
        "mqtt imports its sibling modbus",
    ),
    (
        "bridge-sibling-name",
        f"{GATEWAY}/bridges/mqtt.py",
        "from clampgateway.bridges import modbus",
        "mqtt imports its sibling modbus",
    ),
    (
        "bridge-sibling-dynamic",
        f"{GATEWAY}/bridges/mqtt.py",
        "import importlib\nimportlib.import_module('clampgateway.bridges.modbus')",
        "mqtt imports its sibling modbus",
    ),
    (
        "driver-sibling",
        f"{DEVICE}/drivers/adxl345.py",
        "import clampdevice.drivers.lis3dh",
        "adxl345 imports its sibling lis3dh",
    ),
    (
        "relative",
        f"{GATEWAY}/bridges/mqtt.py",
        "from .modbus import x",
        "mqtt imports its sibling modbus",
    ),
    ("relative-up", f"{GATEWAY}/api/http.py", "from ..app import x", "api imports app"),
    ("relative-init", f"{GATEWAY}/api/__init__.py", "from .. import app", "api imports app"),
    ("machine", f"{DEVICE}/sampler.py", "import machine", "imports machine, which only hal/ of"),
    ("rp2", f"{DEVICE}/window.py", "from rp2 import DMA", "imports rp2.DMA, which only hal/"),
    ("esp32", "device/main.py", "import esp32", "imports esp32, which only hal/"),
    (
        "other-chip",
        f"{DEVICE}/hal/esp32/__init__.py",
        "import rp2",
        "imports rp2, which only hal/",
    ),
    ("sim-chip", f"{DEVICE}/hal/sim/__init__.py", "import machine", "imports machine, which only"),
    ("adc", f"{DEVICE}/sampler.py", "def f(m):\n    m.ADC(26)", "uses an ADC outside hal/"),
    ("typing", f"{DEVICE}/app.py", "import typing", "typing, which MicroPython has not"),
    ("match", f"{DEVICE}/app.py", "match 1:\n    case _:\n        pass", "match, which"),
    ("posonly", f"{DEVICE}/app.py", "def f(a, /):\n    pass", "positional-only"),
    ("struct", f"{DEVICE}/app.py", "import struct\nS = struct.Struct('B')", "Struct, which"),
    ("aiomqtt", f"{GATEWAY}/bridges/mqtt.py", "import aiomqtt", "belongs to"),
    ("numpy", f"{GATEWAY}/app.py", "import numpy", "nowhere in the gateway"),
    ("broad", f"{GATEWAY}/link.py", BROAD.format("Exception", "log()"), "is no supervisor"),
    ("bare", f"{DEVICE}/link.py", BROAD.format("", "log()"), "is no supervisor"),
    (
        "broad-tuple",
        "tools/clamptools/cli.py",
        BROAD.format("(OSError, BaseException)", "log()"),
        "is no supervisor",
    ),
    ("swallow", SUPERVISORS[0], BROAD.format("Exception", "pass"), "swallows every exception"),
    (
        "suppress",
        f"{GATEWAY}/link.py",
        "import contextlib\nwith contextlib.suppress(Exception):\n    work()",
        "suppresses every exception",
    ),
    ("global", f"{GATEWAY}/link.py", "n = 0\ndef f():\n    global n\n    n = 1", "global n"),
    ("long", "tests/test_long.py", "\n" * (MAX_LINES + 1), f"{MAX_LINES + 1} lines"),
]

FINE = [
    ("wire", "device/clampwire/codec.py", "import struct\nfrom collections import namedtuple"),
    ("down", f"{GATEWAY}/api/http.py", "from clampgateway import model, store"),
    ("same-folder", f"{GATEWAY}/api/http.py", "from clampgateway.api.tokens import x"),
    ("config-model", f"{GATEWAY}/config.py", "from clampgateway.model import GatewayError"),
    ("of-all-bridges", f"{GATEWAY}/bridges/mqtt.py", "from clampgateway.bridges import Failed"),
    ("own-folder", f"{GATEWAY}/bridges/modbus/rtu.py", "from clampgateway.bridges import modbus"),
    ("base", f"{GATEWAY}/bridges/mqtt.py", "from clampgateway.bridges.base import Bridge"),
    ("hal", f"{DEVICE}/hal/rp2/adc.py", "import machine\nfrom rp2 import DMA\nmachine.ADC(26)"),
    ("pi", f"{DEVICE}/hal/blinka.py", "import typing"),
    ("supervisor", SUPERVISORS[0], BROAD.format("Exception", "log()")),
    ("clean-up", f"{GATEWAY}/link.py", BROAD.format("BaseException", "close()\n    raise")),
    ("at-the-wall", "tests/test_long.py", "\n" * MAX_LINES),
]


def plant(root: Path, path: str, text: str) -> None:
    """Writes one file of a synthetic tree, with a bridge and a driver to be its siblings."""
    for name, content in (
        (f"{GATEWAY}/bridges/modbus/__init__.py", ""),
        (f"{DEVICE}/drivers/lis3dh.py", ""),
        (path, text),
    ):
        file = root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content)


def test_the_checkout_keeps_the_rules(root_dir: Path) -> None:
    found = violations(root_dir)
    assert not found, "\n" + "\n".join(found)


@pytest.mark.parametrize(
    ("path", "text", "said"), [row[1:] for row in PLANTED], ids=[row[0] for row in PLANTED]
)
def test_a_violation_is_found(tmp_path: Path, path: str, text: str, said: str) -> None:
    plant(tmp_path, path, text)
    found = violations(tmp_path)
    assert len(found) == 1, found
    assert said in found[0]
    assert found[0].startswith(path)


@pytest.mark.parametrize(("path", "text"), [row[1:] for row in FINE], ids=[row[0] for row in FINE])
def test_the_allowed_passes(tmp_path: Path, path: str, text: str) -> None:
    plant(tmp_path, path, text)
    assert violations(tmp_path) == []
