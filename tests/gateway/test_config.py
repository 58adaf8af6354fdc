"""The configuration: every problem with its line and a hint, and what is in effect without any."""

import tomllib
from pathlib import Path
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field

from clampgateway.config import (
    LOOPBACK,
    BindAddress,
    ConfigError,
    ListenPort,
    Port,
    ReadableFile,
    SecretFile,
    Section,
    Settings,
    default_state_dir,
    load,
)
from clampgateway.config.lines import line_of, locate


class _Tls(Settings):
    ca_file: ReadableFile | None = None


class _Broker(Settings):
    host: str = LOOPBACK
    port: Port = 1883
    password_file: SecretFile | None = None
    tls: _Tls = _Tls()
    timeout_s: float = Field(10.0, gt=0, le=60)


class _Panel(Settings):
    bind: BindAddress = LOOPBACK
    port: ListenPort = 1502
    word_order: Literal["big", "little"] = "big"


class _Line(Settings):
    port: str = Field(description="path or pattern of the port")
    baud: int = 115200


SECTIONS = {
    "broker": Section("bridge", lambda: _Broker),
    "panel": Section("bridge", lambda: _Panel),
    "line": Section("source", lambda: _Line),
}
ENV = {"STATE_DIRECTORY": "/var/lib/x:/var/lib/y"}


def load_text(folder: Path, text: str | bytes):
    file = folder / "gateway.toml"
    file.write_bytes(text.encode() if isinstance(text, str) else text)
    return load(file, SECTIONS, ENV)


def problems(folder: Path, text: str | bytes) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load_text(folder, text)
    return [str(problem) for problem in caught.value.problems]


def test_empty_file_has_good_defaults(tmp_path: Path):
    config = load_text(tmp_path, "")
    assert config.state_dir == Path("/var/lib/x")
    assert (config.api.bind, config.api.port) == ("127.0.0.1", 8620)
    assert config.sources == config.bridges == ()
    assert 0 < config.store.commit_interval_s <= 1
    assert "\n" not in config.summary()


def test_sections_become_parts_in_order(tmp_path: Path):
    config = load_text(
        tmp_path,
        '[panel]\nport = 0\n[[line]]\nport = "/dev/a"\n[[line]]\nport = "/dev/b"\n[broker]\n',
    )
    assert [part.name for part in config.sources] == ["line", "line2"]
    assert [part.settings.port for part in config.sources] == ["/dev/a", "/dev/b"]
    assert [part.name for part in config.bridges] == ["panel", "broker"]
    assert "broker(127.0.0.1:1883)" in config.summary()


def test_one_table_is_a_list_of_one(tmp_path: Path):
    config = load_text(tmp_path, '[line]\nport = "/dev/a"\n')
    assert [part.name for part in config.sources] == ["line"]


def test_seven_mistakes_are_seven_lines(tmp_path: Path):
    text = """[gateway]
site = "a/b"
stat_dir = "/tmp"
[brokr]
[panel]
port = 70000
bind = "eth0"
[[line]]
baud = "fast"
"""
    found = problems(tmp_path, text)
    name_rule = "1 to 64 letters, digits, - and _, the first a letter or a digit"
    bind_rule = '"127.0.0.1" for this machine alone, "0.0.0.0" for every network'
    assert found == [
        f'line 2: gateway.site: is "a/b"; {name_rule}',
        'line 3: gateway.stat_dir: there is no such key; did you mean "state_dir"?',
        'line 4: brokr: there is no such section; did you mean "broker"?',
        "line 6: panel.port: is 70000; allowed: 0 to 65535",
        f'line 7: panel.bind: is "eth0", must be an IP address of this machine; {bind_rule}',
        "line 8: line[0].port: is missing; path or pattern of the port",
        'line 9: line[0].baud: must be a whole number, is "fast"; for example baud = 115200',
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('[panel]\nport = "1502"', "line 2: panel.port: must be a whole number"),
        ("[panel]\nport = true", "line 2: panel.port: must be a whole number, is true"),
        ("[panel]\nport = 1502.5", "line 2: panel.port: must be a whole number, is 1502.5"),
        ("[broker]\nport = 0", "line 2: broker.port: is 0; allowed: 1 to 65535"),
        ("[broker]\ntimeout_s = nan", "line 2: broker.timeout_s: is NaN"),
        ("[broker]\ntimeout_s = 61", "line 2: broker.timeout_s: is 61; allowed: 0 to 60"),
        ("[panel]\nword_order = 'litle'", 'did you mean "little"?'),
        ("[broker.tls]\nca_fil = 'x'", 'line 2: broker.tls.ca_fil: there is no such key; did you'),
        ("[broker]\ntls = { ca_file = 'no' }", "line 2: broker.tls.ca_file: cannot read"),
        ("[broker]\ntls = 1", "line 2: broker.tls: must be a table, is 1"),
        ("[broker]\npassword = 'x'", 'secrets come from files: "password_file"'),
        ("broker = 3", "line 1: broker: must be a table, is 3"),
        ("gateway = []", "line 1: gateway: must be a table, is []"),
        ("site = 'x'", "line 1: site: stands in no section; put it under [gateway]"),
        ("[[broker]]\n[[broker]]", "line 2: broker[1]: a bridge is given once"),
        ("[store]\ncommit_interval_s = 2", "allowed: 0.01 to 1"),
        ("[gateway]\nstate_dir = 'gateway.toml'", "is not a folder"),
        ("[panel]\nport = 8620", "line 2: panel.port: port 8620 is taken by [api]"),
        ("[api]\nport = 1502\n[panel]", "line 2: api.port: port 1502 is taken by [panel]"),
        (
            "[api]\nbind = '127.0.0.2'\n[panel]\nbind = '0.0.0.0'\nport = 8620",
            "line 5: panel.port: port 8620 is taken by [api]",
        ),
        (
            "[[line]]\nport='/dev/a'\n[[line]]\nport='/dev/a'",
            'line 4: line[1].port: "/dev/a" is in [line[0]] already',
        ),
    ],
)  # fmt: skip
def test_one_mistake_is_one_line_with_a_hint(tmp_path: Path, text: str | bytes, expected: str):
    found = problems(tmp_path, text)
    assert len(found) == 1
    assert expected in found[0]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[api]\nport = \n", "line 2: column 8: not TOML: invalid value"),
        ('[api]\n\nport = "x', "line 3: end of the file: not TOML"),
        ("[api]\n[api]\n", "line 2: column 5: not TOML: cannot declare"),
        (b"[api]\n# \xff\n", "line 2: byte 0xff is not UTF-8; save the file as UTF-8"),
        (b"\xef\xbb\xbf#\n\n\xe4\n", "line 3: byte 0xe4 is not UTF-8"),
        ("a = " + "[" * 20000, "line 1: not TOML: nested too deeply"),
        ("#" * (1 << 20) + "#", "line 1: is larger than 1048576 bytes"),
    ],
)
def test_no_toml_is_one_line_with_its_place(tmp_path: Path, text: str | bytes, expected: str):
    found = problems(tmp_path, text)
    assert len(found) == 1
    assert found[0].startswith(expected)


def test_byte_order_mark_is_taken(tmp_path: Path):
    assert load_text(tmp_path, b"\xef\xbb\xbf[api]\nport = 0\n").api.port == 0


@pytest.mark.parametrize("name", [".", "missing.toml"])
def test_unreadable_file_is_one_line(tmp_path: Path, name: str):
    with pytest.raises(ConfigError, match="line 1: cannot be read: "):
        load(tmp_path / name, SECTIONS, ENV)


def test_one_port_on_two_addresses_is_fine(tmp_path: Path):
    config = load_text(tmp_path, "[api]\nbind = '127.0.0.2'\n[panel]\nport = 8620\n")
    assert config.bridges[0].settings.port == config.api.port


def test_two_free_ports_do_not_clash(tmp_path: Path):
    load_text(tmp_path, "[api]\nport = 0\n[panel]\nport = 0\n")


def test_secret_that_others_can_read_is_refused(tmp_path: Path):
    secret = tmp_path / "secret"
    secret.write_text("x")
    secret.chmod(0o640)
    text = "[broker]\npassword_file = 'secret'\n"
    (found,) = problems(tmp_path, text)
    assert f'"{secret}" has mode 0640' in found
    assert f"chmod 600 {secret}" in found
    secret.chmod(0o600)
    assert load_text(tmp_path, text).bridges[0].settings.password_file == secret


def test_control_characters_do_not_reach_the_terminal(tmp_path: Path):
    (found,) = problems(tmp_path, '[panel]\nbind = "\\u001b[31m"\n')
    assert "\x1b" not in found


def test_state_dir_follows_the_rules_of_the_system():
    assert default_state_dir({"STATE_DIRECTORY": "/s"}) == Path("/s")
    assert default_state_dir({"XDG_STATE_HOME": "/x"}) == Path("/x/clampwork")
    assert default_state_dir({}) == Path.home() / ".local/state/clampwork"


def test_relative_paths_start_at_the_file(tmp_path: Path):
    assert load_text(tmp_path, "[gateway]\nstate_dir = 'st'\n").state_dir == tmp_path / "st"


TRICKY = '''\
# [no]
top = """ [no]
"" = "" """" # five quotes would end it
"quoted.key" = '#'
[a]
b.c = [ 1, # ]
  [ "]", 2 ],
]
[[s]]
[[s]]
x = { k = 1, "l m" = { n = 2 } }
[s.sub.deep]
y = \'\'\'
z = 1
\'\'\'
z = 1979-05-27 07:32:00
'''


def test_lines_of_a_tricky_file():
    lines = locate(TRICKY)
    expected = {
        ("top",): 2,
        ("quoted.key",): 4,
        ("a", "b", "c"): 6,
        ("a", "b", "c", 1, 1): 7,
        ("s", 0): 9,
        ("s", 1): 10,
        ("s", 1, "x", "l m", "n"): 11,
        ("s", 1, "sub"): 12,
        ("s", 1, "sub", "deep", "y"): 13,
        ("s", 1, "sub", "deep", "z"): 16,
    }
    assert {path: lines.get(path) for path in expected} == expected
    assert line_of(lines, ("s", 1, "missing")) == 10
    assert line_of(lines, ("missing",)) == 1


_KEYS = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), max_size=6)
_VALUES = st.recursive(
    st.integers(-9, 9) | st.booleans() | st.text("ab\"'#[]{}=,.\\\n \t", max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_KEYS, inner, max_size=3),
    max_leaves=8,
)


def _toml(value: object) -> str:
    """A value as TOML, arrays over several lines; a basic string is JSON's but for DEL."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        text = value.replace("\\", "\\\\").replace('"', '\\"')
        return (
            '"' + text.replace("\n", "\\n").replace("\t", "\\t").replace("\x7f", "\\u007f") + '"'
        )
    if isinstance(value, list):
        return "[ # ]\n" + "".join(f"{_toml(one)},\n" for one in value) + "]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_toml(key)} = {_toml(one)}" for key, one in value.items()) + "}"
    return str(value)


def _has_list(value: object) -> bool:
    inner = value.values() if isinstance(value, dict) else ()
    return isinstance(value, list) or any(map(_has_list, inner))


@given(st.dictionaries(_KEYS, _VALUES, max_size=4))
def test_every_key_is_found_on_its_line(document: dict[str, object]):
    text, expected = "", {}
    for key, value in document.items():
        if isinstance(value, dict) and _has_list(value):
            continue  # an inline table may not hold a line end before TOML 1.1
        expected[(key,)] = text.count("\n") + 1
        text += f"{_toml(key)} = {_toml(value)}\n"
    assert tomllib.loads(text).keys() == {path[0] for path in expected}
    lines = locate(text)
    assert {path: line for path, line in lines.items() if len(path) == 1} == expected
