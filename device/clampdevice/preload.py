"""Loads what a board's configuration asks for beyond the rest, before its buffers fill the heap.

Owns the list of such modules and when each is needed. Where an import is left to the moment of its
use, a MicroPython that compiles it finds enough bytes but none in one piece.
"""

from clampdevice.names import BANDS

_SPECTRA = ("frequency", "fa") + BANDS


def preload(config: dict) -> None:
    """Imports for the checked content of board.json."""
    state = config.get("state") or {}
    channels = config["channels"]
    if "learn" in state and "on" not in state:
        import clampdevice.learner
    if any(channel.get("role") for channel in channels):
        import clampdevice.lamps  # noqa: F401
    for channel in channels:
        if channel.get("quantity") == "vibration":
            _vibration([key.split("_", 1)[0] for key in channel.get("features", ())])


def _vibration(stems: list) -> None:
    from clampdevice.names import is_extra

    if any(is_extra(stem) for stem in stems):
        import clampdevice.vibrationextra
    if any(stem in _SPECTRA for stem in stems):
        import clampdevice.spectrum
    if "ratio" in stems:
        import clampdevice.baseline  # noqa: F401
