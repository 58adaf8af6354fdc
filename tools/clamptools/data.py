"""Finds the folders `boards/` and `device/`, in a checkout and in an install.

Owns nothing but these two paths. What lies in them belongs to `clamptools.boards` and to the
firmware.
"""

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent


class DataMissingError(FileNotFoundError):
    """Neither the checkout nor the installed package holds the folder."""


def boards_dir() -> Path:
    """Returns the folder with one TOML per board.

    Raises:
        DataMissingError: The installation is incomplete.
    """
    return _find("boards")


def device_dir() -> Path:
    """Returns the folder with `main.py`, `clampwire` and `clampdevice`: what a board receives.

    Raises:
        DataMissingError: The installation is incomplete.
    """
    return _find("device")


def _find(name: str) -> Path:
    """Prefers the checkout, so that an editable install never reads a copy."""
    checkout = _PACKAGE.parent.parent
    if (checkout / "pyproject.toml").is_file() and (checkout / name).is_dir():
        return checkout / name
    installed = _PACKAGE / "_data" / name
    if installed.is_dir():
        return installed
    raise DataMissingError(
        f"{name}/ is neither in {checkout} nor in {installed}: reinstall clampwork"
    )
