"""When a test may be skipped: a Debian package, an interpreter or the shared folder is absent.

Every skip names what is missing. Where CLAMPWORK_CI is set, a missing Debian package is a failure
instead, since there the run itself installs them.
"""

import os
import shutil
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
# Debian puts daemons where the PATH of an ordinary user does not look.
_SEARCH = os.pathsep.join((os.environ.get("PATH", ""), "/usr/local/sbin", "/usr/sbin", "/sbin"))


def need_debian(package: str, command: str | None = None) -> str:
    """Returns the path of a command from a Debian package.

    Args:
        package: The package that brings it, e.g. `mosquitto-clients`.
        command: The command, if it is not named as its package.

    Skips the test without it, and fails it under CLAMPWORK_CI.
    """
    command = command or package
    found = shutil.which(command, path=_SEARCH)
    if found:
        return found
    reason = f"Debian package {package} is not installed (no command {command})"
    if os.environ.get("CLAMPWORK_CI"):
        pytest.fail(reason)
    pytest.skip(f"{reason}: apt-get install {package}")


def shared_path() -> Path:
    """Returns the folder with recordings: CLAMPWORK_SHARED, or `../shared` beside the checkout.

    Skips the test if there is none; the product never needs it.
    """
    override = os.environ.get("CLAMPWORK_SHARED")
    folder = Path(override) if override else ROOT.parent / "shared"
    if not folder.is_dir():
        pytest.skip(f"no recordings: {folder} is no folder (CLAMPWORK_SHARED names another)")
    return folder
