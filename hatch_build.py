"""Adds `boards/` and `device/` to the wheel as data, under `clamptools/_data`.

A hook and not `force-include`, because an editable install would otherwise carry stale copies of
both, and compiled caches would go into the wheel. `clamptools.data` finds them again.
"""

from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

FOLDERS = ("boards", "device")


class DataHook(BuildHookInterface):
    """Maps every source file of the data folders to its place in the wheel."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Fills `force_include`; does nothing for an editable install, which has the checkout."""
        if version == "editable":
            return
        root = Path(self.root)
        for folder in FOLDERS:
            for path in sorted((root / folder).rglob("*")):
                relative = path.relative_to(root)
                if path.is_file() and "__pycache__" not in relative.parts:
                    build_data["force_include"][str(path)] = f"clamptools/_data/{relative}"
