"""The tests' own helpers, since a broken one would make other tests pass."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from support import skips
from support.mosquitto import Mosquitto
from support.ports import free_ports, listens, wait_for


def _publish(broker: Mosquitto, *options: str) -> None:
    program = skips.need_debian("mosquitto-clients", "mosquitto_pub")
    subprocess.run([program, "-p", str(broker.port), *options], check=True, timeout=10)


def _receive(broker: Mosquitto, *options: str) -> list[str]:
    program = skips.need_debian("mosquitto-clients", "mosquitto_sub")
    command = [program, "-p", str(broker.port), *options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    return done.stdout.splitlines()


@pytest.mark.parametrize(("end", "kept"), [("stop", ["words"]), ("kill", [])])
def test_a_stopped_broker_keeps_what_a_killed_one_loses(
    mosquitto: Callable[..., Mosquitto], end: str, kept: list[str]
) -> None:
    broker = mosquitto(persistence=True)
    session = ["-i", "reader", "-c", "-q", "1", "-t", "a/b"]
    _receive(broker, *session, "-E")
    _publish(broker, "-t", "a/b", "-q", "1", "-m", "words")
    getattr(broker, end)()
    assert not listens(broker.port)
    broker.start()
    assert _receive(broker, *session, "-W", "1") == kept


def test_a_broker_that_cannot_start_says_why(mosquitto: Callable[..., Mosquitto]) -> None:
    with pytest.raises(RuntimeError, match="no_such_option"):
        mosquitto(extra="no_such_option 1")


def test_a_missing_package_skips_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CLAMPWORK_CI", raising=False)
    with pytest.raises(pytest.skip.Exception, match="package no-such-package"):
        skips.need_debian("no-such-package")


def test_a_missing_package_fails_in_ci(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLAMPWORK_CI", "1")
    with pytest.raises(pytest.fail.Exception, match="package no-such-package"):
        skips.need_debian("no-such-package")


def test_absent_recordings_skip(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CLAMPWORK_SHARED", str(tmp_path / "none"))
    with pytest.raises(pytest.skip.Exception, match="no recordings"):
        skips.shared_path()


def test_free_ports_differ() -> None:
    assert len(set(free_ports(20))) == 20


def test_waiting_ends() -> None:
    with pytest.raises(TimeoutError, match=r"the moon: not within 0\.05 s"):
        wait_for(lambda: False, 0.05, "the moon")
