"""Profiles of meters: what ships says what the documents say, and what is wrong is told."""

import math
import struct
from pathlib import Path

import pytest

from clampgateway.config import ConfigError, load_model
from clampgateway.descriptions import assemble
from clampgateway.sources.modbus_meter.plan import Plan, ValueProblem
from clampgateway.sources.modbus_meter.profile import (
    FOLDER,
    Profile,
    names,
)
from clampgateway.sources.modbus_meter.spool import SPOOL_FULL, Spool
from clampwire.codec import Codec
from support.meters import SDM120

# Of the documents, by hand: channel, feature, address.
EASTRON = {
    "eastron-sdm120": [
        ("voltage1", "rms", SDM120["volts"]),
        ("voltage1", "frequency", SDM120["hz"]),
        ("current1", "rms", SDM120["amps"]),
        ("current1", "real", SDM120["watts"]),
        ("current1", "apparent", SDM120["va"]),
        ("current1", "reactive", SDM120["var"]),
        ("current1", "pf", SDM120["pf"]),
        ("energy1", "import", SDM120["import_kwh"]),
        ("energy1", "export", SDM120["export_kwh"]),
        ("energy1", "total", SDM120["kwh"]),
        ("reactive1", "import", SDM120["import_kvarh"]),
        ("reactive1", "export", SDM120["export_kvarh"]),
        ("reactive1", "total", SDM120["kvarh"]),
    ],
    # 30001 to 30079 of the protocol, each less 30001.
    "eastron-sdm630": [
        *((f"voltage{n}", "rms", 2 * (n - 1)) for n in (1, 2, 3)),
        *(
            (f"current{n}", key, at + 2 * (n - 1))
            for n in (1, 2, 3)
            for key, at in (
                ("rms", 30007 - 30001),
                ("real", 30013 - 30001),
                ("apparent", 30019 - 30001),
                ("reactive", 30025 - 30001),
                ("pf", 30031 - 30001),
            )
        ),
        ("power1", "real", 30053 - 30001),
        ("power1", "apparent", 30057 - 30001),
        ("power1", "reactive", 30061 - 30001),
        ("power1", "pf", 30063 - 30001),
        ("power1", "frequency", 30071 - 30001),
        ("energy1", "import", 30073 - 30001),
        ("energy1", "export", 30075 - 30001),
        ("energy1", "total", 0x156),
        ("reactive1", "import", 30077 - 30001),
        ("reactive1", "export", 30079 - 30001),
    ],
    # 31011 and so on of Shelly's API, each less 30000.
    "shelly-pro-3em": [
        *(
            (f"{channel}{n}", key, at + 20 * (n - 1))
            for n in (1, 2, 3)
            for channel, key, at in (
                ("voltage", "rms", 1020),
                ("current", "rms", 1022),
                ("current", "real", 1024),
                ("current", "apparent", 1026),
                ("current", "pf", 1028),
                ("voltage", "frequency", 1033),
            )
        ),
        ("power1", "current", 1011),
        ("power1", "real", 1013),
        ("power1", "apparent", 1015),
        ("energy1", "import", 1162),
        ("energy1", "export", 1164),
    ],
}


def shipped(name: str) -> Profile:
    return load_model(FOLDER / f"{name}.toml", Profile)


def made(features: str, head: str = "") -> str:
    channel = f'[[channel]]\nkey = "energy1"\nquantity = "energy"\nfeatures = [{features}]\n'
    return f'name = "Mine"\n{head}\n{channel}'


def problems(folder: Path, text: str) -> list[str]:
    file = folder / "mine.toml"
    file.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_model(file, Profile)
    return [str(problem) for problem in caught.value.problems]


def plan_of(folder: Path, text: str) -> Plan:
    file = folder / "mine.toml"
    file.write_text(text)
    return Plan(load_model(file, Profile), 1.0, {})


def test_every_profile_that_ships_is_in_the_table_below() -> None:
    assert names() == sorted(EASTRON)


@pytest.mark.parametrize("name", names())
def test_a_shipped_profile_says_what_the_documents_say(name: str) -> None:
    text = (FOLDER / f"{name}.toml").read_text()
    assert "\n# Ref: " in text, "a profile names what its addresses were taken from"
    profile = shipped(name)
    plan = Plan(profile, profile.period_s, {})
    fields = [(plan.channels[f.channel], f.key, f.address) for f in plan.fields]
    assert sorted(fields) == sorted(EASTRON[name])
    order = "CDAB" if name.startswith("shelly") else "ABCD"
    assert {(f.function, f.kind, f.word_order) for f in plan.fields} == {(4, "float32", order)}
    # Nothing is asked for that has no name.
    asked = {at for b in plan.blocks for at in range(b.first, b.first + b.words)}
    assert asked == {f.address + low for f in plan.fields for low in (0, 1)}
    assert all(block.words <= profile.max_registers for block in plan.blocks)


@pytest.mark.parametrize("name", names())
def test_uncertainty_is_stated_where_a_source_states_it_and_unknown_elsewhere(name: str) -> None:
    profile = shipped(name)
    about = assemble("press", Plan(profile, profile.period_s, {}).describes)
    stated = {
        c.key: c.uncertainty_pct for c in about.channels if not math.isnan(c.uncertainty_pct)
    }
    assert stated == ({"energy1": 1.0} if name.startswith("eastron") else {})
    assert all(math.isnan(c.noise_floor) for c in about.channels)
    # What the user knows better stands in place of it.
    own = assemble("press", Plan(profile, profile.period_s, {"energy1": 0.5}).describes)
    assert [c.uncertainty_pct for c in own.channels if c.key == "energy1"] == [0.5]


ORDERS = {"ABCD": [0x1234, 0x5678], "CDAB": [0x5678, 0x1234]}
ORDERS |= {"BADC": [0x3412, 0x7856], "DCBA": [0x7856, 0x3412]}


@pytest.mark.parametrize(("order", "words"), ORDERS.items())
def test_word_orders(tmp_path: Path, order: str, words: list[int]) -> None:
    feature = f'{{ key = "a", address = 0, type = "uint32", word_order = "{order}" }}'
    (field,) = plan_of(tmp_path, made(feature)).fields
    assert field.value(words) == (0x12345678,)


def test_word_orders_of_eight_bytes(tmp_path: Path) -> None:
    found = {}
    for order in ORDERS:
        feature = f'{{ key = "a", address = 0, type = "int64", word_order = "{order}" }}'
        (field,) = plan_of(tmp_path, made(feature)).fields
        data = struct.pack(">q", -2_000_000_001)
        if order in ("DCBA", "CDAB"):
            data = b"".join(data[at : at + 2] for at in (6, 4, 2, 0))
        if order in ("BADC", "DCBA"):
            data = b"".join(data[at : at + 2][::-1] for at in (0, 2, 4, 6))
        found[order] = field.value(struct.unpack(">4H", data))
    assert set(found.values()) == {(-2_000_000_001,)}


def test_numbers_are_what_the_meter_says(tmp_path: Path) -> None:
    """Integers exactly, floats bit by bit, through the record and back."""
    text = made(
        '{ key = "small", address = 0, type = "uint16", scale = 0.1 },'
        '{ key = "minus", address = 1, type = "int16", scale = 0.01 },'
        '{ key = "large", address = 2, type = "uint32", scale = 10.0 },'
        '{ key = "exact", address = 4 },'
        '{ key = "times", address = 6, scale = 1000.0 },'
        '{ key = "wide", address = 8, type = "uint64" },'
    )
    plan = plan_of(tmp_path, text)
    assert [(b.first, b.words) for b in plan.blocks] == [(0, 12)]
    truth = struct.unpack(">f", b"\x46\x40\xe6\xae")[0]
    words = struct.unpack(
        ">12H",
        struct.pack(">HhIffQ", 65535, -32768, 4294967294, truth, 2.5, 4_000_000_000),
    )
    numbers = [f.value(words[f.address : f.address + f.words]) for f in plan.fields]
    about = assemble("press", plan.describes)
    assert about.plan.numbers(plan.pack(numbers)) == {
        "energy1": {
            "small": 6553.5,
            "minus": -327.68,
            "large": 42949672940,
            "exact": truth,
            "times": 2500.0,
            "wide": 4_000_000_000,
        }
    }
    assert plan.flags(numbers) == [0]


WRONG_VALUES = {
    "NaN": ("float32", "", b"\x7f\xc0\0\0", "a is nan"),
    "infinity": ("float32", "", b"\x7f\x80\0\0", "a is inf"),
    "out of range": ("float32", "range = [0.0, 400.0]", b"\xbf\x80\0\0", "not within 0 to 400"),
    "too much for a record": ("uint64", "", b"\0\0\0\1\0\0\0\0", "more than a record holds"),
    "the mark of a record": ("uint32", "", b"\xff\xff\xff\xff", "more than a record holds"),
    "too much for a float32": ("float64", "", struct.pack(">d", 1e300), "a is 1e"),
}


@pytest.mark.parametrize(("kind", "more", "data", "said"), WRONG_VALUES.values(), ids=WRONG_VALUES)
def test_a_wrong_value_is_none(
    tmp_path: Path, kind: str, more: str, data: bytes, said: str
) -> None:
    comma = f", {more}" if more else ""
    feature = f'{{ key = "a", unit = "V", address = 0, type = "{kind}"{comma} }}'
    (field,) = plan_of(tmp_path, made(feature)).fields
    with pytest.raises(ValueProblem, match=said):
        field.value(struct.unpack(f">{len(data) // 2}H", data))


def test_a_meter_can_say_that_it_has_no_value(tmp_path: Path) -> None:
    feature = '{ key = "a", address = 0, type = "int16", missing = [-32768, 32767] }'
    (field,) = plan_of(tmp_path, made(feature)).fields
    assert [field.value([word]) for word in (0x8000, 0x7FFF, 0x7FFE)] == [None, None, (32766,)]


WRONG_PROFILES = {
    "no channel": ('name = "Mine"\nchannel = []\n', "channel: has 0 channels, must be 1 to 16"),
    "no feature": (made(""), "channel[0].features: has 0 features, must be 1 to 40"),
    "typo": (made('{ key = "a", address = 1, scael = 2.0 }'), 'scael: there is no such key; did'),
    "type": (made('{ key = "a", address = 1, type = "float" }'), 'type: is "float", must be'),
    "address": (made('{ key = "a", address = 65535 }'), "address 65535 is too high for float32"),
    "number": (made('{ key = "a", address = 30073000 }'), "is 30073000; allowed: 0 to 65535"),
    "twice": (
        made('{ key = "a", address = 1 }, { key = "a", address = 3 }'),
        "has feature a more than once",
    ),
    "scale 0": (made('{ key = "a", address = 1, scale = 0.0 }'), "scale: is 0; value = raw"),
    "scale of an integer": (
        made('{ key = "a", address = 1, type = "int16", scale = 0.123456 }'),
        "scale is 0.123456, must be a decimal above 0 of at most 4 digits",
    ),
    "range": (made('{ key = "a", address = 1, range = [5.0, 1.0] }'), "the least value comes"),
    "missing of a float": (
        made('{ key = "a", address = 1, missing = [0] }'),
        "missing is for integers; a float says NaN",
    ),
    "period": (
        made('{ key = "a", address = 1 }', "period_s = 0.5"),
        "period_s: is 0.5, must be a multiple of 0.2 from 0.2 to 51",
    ),
    "small requests": (
        made('{ key = "a", address = 1, type = "uint64" }', "max_registers = 2"),
        "uint64 takes 4 registers, max_registers is 2",
    ),
    "too many": (
        "".join(
            [
                'name = "Mine"\n',
                *(
                    f'[[channel]]\nkey = "c{n}"\nquantity = "power"\nfeatures = ['
                    + ",".join(f'{{ key = "f{m}", address = {2 * m} }}' for m in range(10))
                    + "]\n"
                    for n in range(7)
                ),
            ]
        ),
        "70 features are more than a record holds; at most 63",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("text", "said"), WRONG_PROFILES.values(), ids=WRONG_PROFILES)
def test_a_mistake_in_a_profile_is_told_with_its_line(
    tmp_path: Path, text: str, said: str
) -> None:
    found = problems(tmp_path, text)
    assert len(found) == 1, found
    assert found[0].startswith("line ")
    assert said in found[0]


def test_requests_join_what_is_near_and_no_more(tmp_path: Path) -> None:
    features = ",".join(
        f'{{ key = "f{n}", address = {at} }}' for n, at in enumerate((0, 2, 8, 20))
    )
    blocks = plan_of(tmp_path, made(features)).blocks
    assert [(b.first, b.words) for b in blocks] == [(0, 4), (8, 2), (20, 2)]
    blocks = plan_of(tmp_path, made(features, "max_gap = 4")).blocks
    assert [(b.first, b.words) for b in blocks] == [(0, 10), (20, 2)]
    blocks = plan_of(tmp_path, made(features, "max_gap = 100\nmax_registers = 10")).blocks
    assert [(b.first, b.words) for b in blocks] == [(0, 10), (20, 2)]


def test_another_profile_is_another_description(tmp_path: Path) -> None:
    one = plan_of(tmp_path, made('{ key = "a", address = 1 }'))
    other = plan_of(tmp_path, made('{ key = "a", address = 1 }, { key = "b", address = 3 }'))
    assert one.crc != other.crc
    # The place of a register in the meter is no part of what the numbers mean.
    assert one.crc == plan_of(tmp_path, made('{ key = "a", address = 7 }')).crc


# --- the spool ----------------------------------------------------------------------------------


def test_a_full_spool_drops_the_oldest_and_says_so() -> None:
    codec, spool = Codec(), Spool(4)
    spool.keep("Gap", 3, 0, 0, 3, 255, 1, 0, 0, 0, 7)
    for second in range(1, 8):
        spool.keep("Event", 3, 1000 * second, 1000 * second, 255, 3, 0, "")
    assert (len(spool), spool.dropped, spool.next_seq) == (4, 4, 8)
    assert [codec.decode(payload)[1].seq for payload in spool.unsent()] == [0, 5, 6, 7]
    assert spool.unsent() == []
    spool.forget(5, 7)
    spool.keep("Event", 3, 9000, 9000, 255, 3, 0, "")
    name, gap = codec.decode(spool.unsent()[0])
    assert (name, gap.seq, gap.reason) == ("Gap", 8, SPOOL_FULL)
    assert (gap.first_seq, gap.last_seq, gap.from_ms, gap.to_ms) == (1, 4, 1000, 9000)
    spool.resend()
    assert [codec.decode(payload)[1].seq for payload in spool.unsent()] == [0, 8, 9]
    assert spool.oldest_seq == 0
