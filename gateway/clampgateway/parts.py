"""Finds the classes of sources and bridges by the name of their section.

Owns the step from the two registries to configuration sections. A class is imported when its
section is in the file, so that an unused protocol costs nothing.
"""

from __future__ import annotations

import importlib
from functools import partial
from typing import Any

from clampgateway.bridges import BRIDGES
from clampgateway.config import Section
from clampgateway.sources import SOURCES


def sections() -> dict[str, Section]:
    """What `config.load` needs to know of all sources and bridges."""
    found = {name: Section("source", partial(_settings, SOURCES[name])) for name in SOURCES}
    found |= {name: Section("bridge", partial(_settings, BRIDGES[name])) for name in BRIDGES}
    return found


def source_class(section: str) -> Any:  # noqa: ANN401 - each source has its own type
    """The class that serves [[section]]."""
    return _load(SOURCES[section])


def bridge_class(section: str) -> Any:  # noqa: ANN401 - each bridge has its own type
    """The class that serves [section]."""
    return _load(BRIDGES[section])


def _settings(target: str) -> Any:  # noqa: ANN401
    return _load(target).Settings


def _load(target: str) -> Any:  # noqa: ANN401
    module, _, name = target.partition(":")
    return getattr(importlib.import_module(module), name)
