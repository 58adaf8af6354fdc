"""`clampwork bench mqtt`: every client it compares publishes all it is told to."""

import json
import shutil
from pathlib import Path

import pytest

from clamptools import mqttbench
from clamptools.cli import main
from clamptools.errors import UserError
from clamptools.mqttbench_clients import CLIENTS
from support.skips import need_debian


def test_all_clients_are_measured_in_one_run(capsys: pytest.CaptureFixture[str]) -> None:
    need_debian("mosquitto")
    need_debian("gcc", "cc")
    command = "bench mqtt --messages 300 --rounds 1 --window 20 --json"
    assert main(command.split()) == 0
    found = json.loads(capsys.readouterr().out)
    assert [each["client"] for each in found["runs"]] == [mqttbench.LIBMOSQUITTO, *CLIENTS]
    assert not found["notes"]
    for each in found["runs"]:
        assert each["messages_per_s"] > 50
        assert each["cpu_us"] > 0
        assert each["ratio_to_libmosquitto"] > 0


def test_a_client_that_fails_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    need_debian("mosquitto")
    monkeypatch.setattr(mqttbench, "CLIENTS", {"nobody": None})
    with pytest.raises(UserError, match="client nobody failed"):
        mqttbench.measure(tmp_path, 10, 200, 10, 1)


def test_without_mosquitto_it_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "which", lambda *_arguments, **_options: None)
    with pytest.raises(UserError, match="apt-get install mosquitto"):
        mqttbench.measure(tmp_path, 10, 200, 10, 1)
