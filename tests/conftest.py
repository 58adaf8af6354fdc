"""Fixtures of all tests, and what the tests measured, printed before pytest's closing line."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from support import ports
from support.mosquitto import Mosquitto
from support.skips import ROOT, need_debian, shared_path

pytest_plugins = ("support.measured",)


@pytest.fixture(scope="session")
def root_dir() -> Path:
    """The checkout."""
    return ROOT


@pytest.fixture(scope="session")
def shared_dir() -> Path:
    """The folder with recordings beside the checkout; skips without it."""
    return shared_path()


@pytest.fixture
def free_port() -> Callable[[], int]:
    """Returns a free TCP port on loopback at each call."""
    return ports.free_port


@pytest.fixture
def mosquitto(tmp_path: Path) -> Iterator[Callable[..., Mosquitto]]:
    """Makes started brokers; arguments as for `support.mosquitto.Mosquitto` after the folder."""
    program = need_debian("mosquitto")
    brokers: list[Mosquitto] = []

    def make(**options) -> Mosquitto:  # noqa: ANN003
        folder = tmp_path / f"mosquitto{len(brokers)}"
        folder.mkdir()
        broker = Mosquitto(program, folder, **options)
        brokers.append(broker)
        broker.start()
        return broker

    yield make
    for broker in brokers:
        broker.kill()  # how it ends in order is for a test that wants to know
