"""[[modbus_meter]] in a configuration: mistakes are told, documents and defaults agree."""

import re
from pathlib import Path

import pytest

from clampgateway.config import ConfigError, load, load_model
from clampgateway.parts import sections
from clampgateway.sources.modbus_meter import ModbusMeterSource
from clampgateway.sources.modbus_meter.profile import (
    ChannelProfile,
    Profile,
    Quantity,
    names,
)
from clampgateway.sources.modbus_meter.settings import MeterSettings


def made(features: str, head: str = "") -> str:
    channel = f'[[channel]]\nkey = "energy1"\nquantity = "energy"\nfeatures = [{features}]\n'
    return f'name = "Mine"\n{head}\n{channel}'


METER = '[[modbus_meter.meter]]\nid = "press"\nprofile = "eastron-sdm120"\n'
RTU = f'[[modbus_meter]]\nport = "/dev/ttyUSB0"\n{METER}'
WRONG_SECTIONS = {
    "no meter": ('[[modbus_meter]]\nport = "/dev/ttyUSB0"\n', "meter: is missing; give each"),
    "neither port nor host": (f"[[modbus_meter]]\n{METER}", "has no host, and no port that is"),
    "a serial port at a host": (
        f'[[modbus_meter]]\nhost = "10.0.0.9"\nport = "/dev/ttyUSB0"\n{METER}',
        "with a host it is a TCP port",
    ),
    "unit": (RTU + "unit = 250\n", "unit of press is 250; on a serial line 1 to 247"),
    "id": (RTU.replace("press", "press/2"), 'id: is "press/2"; device id in topics'),
    "twins": (RTU + METER, "has meter id press more than once"),
    "units": (RTU + METER.replace("press", "mill"), "has unit 1 more than once"),
    "profile": (RTU.replace("sdm120", "sdm12"), 'is "eastron-sdm12", which does not come with'),
    "no file": (RTU.replace("eastron-sdm120", "own.toml"), "own.toml: line 1: cannot be read"),
    "channel": (RTU + "uncertainty_pct = { energy = 1.0 }\n", "has no channel energy; it has"),
    "slow line": (
        RTU.replace("\n[[modbus_meter.meter]]", "\nbaud = 1200\n[[modbus_meter.meter]]")
        + "period_s = 1.0\n",
        "the meters need 130% of the line's time at 1200 baud; raise period_s or baud",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("text", "said"), WRONG_SECTIONS.values(), ids=WRONG_SECTIONS)
def test_a_mistake_in_the_section_is_told(tmp_path: Path, text: str, said: str) -> None:
    file = tmp_path / "gateway.toml"
    file.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load(file, sections(), {"STATE_DIRECTORY": str(tmp_path)})
    (problem,) = caught.value.problems
    assert said in str(problem)


def test_the_section_s_defaults(tmp_path: Path) -> None:
    (tmp_path / "own.toml").write_text(made('{ key = "a", address = 1 }'))
    file = tmp_path / "gateway.toml"
    tcp = RTU.replace('port = "/dev/ttyUSB0"', 'host = "10.0.0.9"').replace("press", "mill")
    file.write_text(RTU + tcp.replace("eastron-sdm120", "own.toml"))
    config = load(file, sections(), {"STATE_DIRECTORY": str(tmp_path)})
    rtu, tcp = (part.settings for part in config.sources)
    assert (str(rtu.line), rtu.baud, rtu.parity, rtu.stop_bits) == (
        "/dev/ttyUSB0",
        9600,
        "none",
        1,
    )
    assert (str(tcp.line), tcp.meter[0].profile.name) == ("10.0.0.9:502", "Mine")
    assert (rtu.meter[0].unit, rtu.meter[0].seconds, tcp.meter[0].seconds) == (1, 2.0, 1.0)
    assert "modbus_meter(/dev/ttyUSB0), modbus_meter(10.0.0.9:502)" in config.summary()


def test_the_example_names_every_key_with_its_default(root_dir: Path, tmp_path: Path) -> None:
    text = (root_dir / "docs/examples/gateway.toml").read_text()
    block = re.search(r"^#\[\[modbus_meter\]\]\n.*?(?=^$)", text, re.MULTILINE | re.DOTALL)
    assert block is not None
    lines = [line[1:] for line in block[0].splitlines() if re.match(r"#[a-z\[]", line)]
    keys = {line.partition(" ")[0] for line in lines} | {"host"}
    named = {*ModbusMeterSource.Settings.model_fields, *MeterSettings.model_fields} - {"meter"}
    assert {key for key in keys if not key.startswith("[")} == named
    assert '##host = "' in block[0], "a line has a port or a host"
    file = tmp_path / "gateway.toml"
    file.write_text("\n".join(lines))
    (part,) = load(file, sections(), {"STATE_DIRECTORY": str(tmp_path)}).sources
    for model, shown in ((part.settings, ()), (part.settings.meter[0], ("name", "period_s"))):
        for name, field in type(model).model_fields.items():
            wanted = ("port", "uncertainty_pct", "host", *shown)
            if not field.is_required() and name not in wanted:
                assert getattr(model, name) == field.default, name


def test_the_document_names_every_key_of_a_profile(root_dir: Path, tmp_path: Path) -> None:
    text = (root_dir / "docs/meters.md").read_text()
    for model in (Profile, ChannelProfile, Quantity):
        for name in model.model_fields:
            assert f"`{name}`" in text or name in ("channel", "features"), name
    assert all(f"`{name}`" in text for name in names())
    blocks = re.findall(r"^```toml\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    section, profile = blocks
    (tmp_path / "mine.toml").write_text(profile)
    assert load_model(tmp_path / "mine.toml", Profile).name == "Maker Type"
    (tmp_path / "gateway.toml").write_text(section)
    config = load(tmp_path / "gateway.toml", sections(), {"STATE_DIRECTORY": str(tmp_path)})
    assert [part.name for part in config.sources] == ["modbus_meter", "modbus_meter2"]
