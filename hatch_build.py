"""Adds `boards/` and `device/` to the wheel as data, under `clamptools/_data`.

A hook and not `force-include`, because an editable install would otherwise carry stale copies of
both. `clamptools.data` finds them again.
"""

from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

FOLDERS = ("boards", "device")


class DataHook(BuildHookInterface):
    """Maps each data folder to its place in the wheel."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Fills `force_include`; does nothing for an editable install, which has the checkout."""
        if version == "editable":
            return
        for folder in FOLDERS:
            # By folder: a file named here on its own would be left out of its package.
            if (Path(self.root) / folder).is_dir():
                build_data["force_include"][folder] = f"clamptools/_data/{folder}"
