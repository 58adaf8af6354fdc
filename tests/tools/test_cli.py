"""The command line: help, exit codes and what a user sees of a mistake."""

import contextlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from clamptools import cli
from clamptools.errors import UserError


def run(*arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
    """The real command in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "clamptools.cli", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), **env},
    )


def fails(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """Runs a command that must end with 2, in one line on standard error; returns the line."""
    assert cli.main(arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    return err


def test_nothing_named_shows_the_commands(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert all(f"  {name} " in err for name in cli.COMMANDS)


def test_help_and_version_go_to_standard_output() -> None:
    shown = run("--help")
    assert (shown.returncode, shown.stderr) == (0, "")
    assert "example:" in shown.stdout
    shown = run("--version")
    assert shown.stdout.startswith("clampwork 0.")


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_every_command_has_help_with_an_example(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    try:
        module = cli._load(name, cli.COMMANDS[name])
    except UserError as error:
        pytest.skip(str(error))
    cli.command_parser(name, module).print_help()
    text = capsys.readouterr().out
    assert f"example:\n  clampwork {name}" in text
    assert max(map(len, text.splitlines())) <= 99


@pytest.mark.parametrize("action", ["run", "check-config", "release"])
def test_every_action_has_help_with_an_example(
    action: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(["gateway", action, "--help"])
    assert ended.value.code == 0
    assert f"example:\n  clampwork gateway {action}" in capsys.readouterr().out


def test_a_wrong_command_is_told_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    assert "did you mean `gateway`?" in fails(capsys, "gatway")
    assert "commands: bench, demo, device, gateway" in fails(capsys, "xyz")


@pytest.mark.parametrize(
    "arguments", [["--nonsense"], ["gateway"], ["gateway", "fly"], ["registers", "--format", "x"]]
)
def test_wrong_arguments_exit_with_2(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(arguments)
    assert ended.value.code == 2
    assert "Traceback" not in capsys.readouterr().err


def test_a_missing_extra_names_the_install(tmp_path: Path) -> None:
    (tmp_path / "amqtt.py").write_text("raise ModuleNotFoundError(name='amqtt')\n")
    (tmp_path / "needs_extra.py").write_text("import amqtt\n")
    code = (
        "from clamptools import cli\n"
        "cli.COMMANDS['demo'] = cli.Command('', 'needs_extra', 'tools')\n"
        "raise SystemExit(cli.main(['demo']))"
    )
    path = os.pathsep.join([str(tmp_path), *filter(None, sys.path)])
    shown = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, "PYTHONPATH": path},
    )
    assert shown.returncode == 2
    assert shown.stderr == (
        "clampwork demo: `demo` needs the package amqtt, which is not installed: "
        "pip install 'clampwork[tools]'\n"
    )


def test_the_base_install_loads_no_extra() -> None:
    """What a Pi runs must not import what only the extra `tools` brings."""
    code = (
        "import sys\n"
        "from clamptools import cli\n"
        "cli.main(['registers', '--format', 'json'])\n"
        "import clamptools.gatewaycmd, clampgateway.app\n"
        "extras = {'amqtt', 'numpy', 'rich', 'mpremote', 'hypothesis', 'pytest'}\n"
        "raise SystemExit(', '.join(extras & sys.modules.keys()) or None)"
    )
    path = os.pathsep.join(filter(None, sys.path))
    shown = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, "PYTHONPATH": path},
    )
    assert (shown.returncode, shown.stderr) == (0, "")
    json.loads(shown.stdout)


def test_a_reader_that_goes_away_is_no_error() -> None:
    command = f"{sys.executable} -m clamptools.cli registers --format md | head -n 1"
    shown = subprocess.run(
        ["/bin/sh", "-c", command],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )
    assert shown.stdout.count("\n") == 1
    assert shown.stderr == ""


@pytest.mark.parametrize("form", ["md", "csv", "json"])
def test_registers_come_in_every_form(form: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["registers", "--format", form]) == 0
    text = capsys.readouterr().out
    assert "0x4357" in text
    if form == "json":
        json.loads(text)


def test_check_config_tells_every_problem(tmp_path: Path) -> None:
    file = tmp_path / "gateway.toml"
    file.write_text(
        "[gateway]\n"
        'site = "a/b"\n'
        "colour = 1\n"
        "[store]\n"
        "commit_interval_s = 5\n"
        "[api]\n"
        "port = 99999\n"
        'bind = "eth0"\n'
        "[mqqt]\n"
        "[modbus]\n"
        'port = "1502"\n'
    )
    shown = run("gateway", "check-config", str(file))
    assert (shown.returncode, shown.stdout) == (2, "")
    lines = shown.stderr.splitlines()
    assert len(lines) == 7
    starts = [f"{file}: line {number}: " for number in (2, 3, 5, 7, 8, 9, 11)]
    assert all(line.startswith(start) for line, start in zip(lines, starts, strict=True))
    assert run("gateway", "run", str(file)).stderr == shown.stderr


def test_check_config_says_what_is_in_effect(tmp_path: Path) -> None:
    file = tmp_path / "gateway.toml"
    file.write_text('[gateway]\nstate_dir = "state"\nid = "pi1"\n[modbus]\n')
    shown = run("gateway", "check-config", str(file))
    assert (shown.returncode, shown.stderr) == (0, "")
    assert shown.stdout.startswith("ok: site=default id=pi1 ")
    assert shown.stdout.count("\n") == 1
    assert not (tmp_path / "state").exists()


@pytest.mark.parametrize("name", ["missing.toml", "."])
def test_a_file_that_cannot_be_read_is_one_line(tmp_path: Path, name: str) -> None:
    shown = run("gateway", "run", str(tmp_path / name))
    assert shown.returncode == 2
    assert shown.stderr.count("\n") == 1
    assert "cannot be read" in shown.stderr


def test_release_without_a_gateway_is_a_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = fails(capsys, "gateway", "release", "/dev/x", "--state-dir", str(tmp_path))
    assert f"no gateway runs with the state folder {tmp_path}" in text
    (tmp_path / "api.token").write_text("x")
    (tmp_path / "api.json").write_text('{"host": "127.0.0.1", "port": 9}')
    text = fails(capsys, "gateway", "release", "/dev/x", "--state-dir", str(tmp_path))
    assert "does not answer" in text


def test_an_unreadable_file_of_the_user_is_a_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def opens(_args: list[str]) -> int:
        return len(Path("/nonexistent/file").read_text())

    monkeypatch.setattr(cli, "_dispatch", opens)
    assert fails(capsys, "demo") == (
        "clampwork demo: /nonexistent/file: No such file or directory\n"
    )


def test_a_defect_shows_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def crash(_args: list[str]) -> int:
        raise OSError("not the user's")

    monkeypatch.setattr(cli, "_dispatch", crash)
    with contextlib.suppress(SystemExit), pytest.raises(OSError, match="not the user's"):
        cli.main(["demo"])
