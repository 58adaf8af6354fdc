"""One TOML file, read and validated as a whole before anything is opened.

Owns reading, the order of the checks, those that span several sections, and the frozen result.
Sections of sources and bridges are passed in by the composition root, so nothing here knows a
protocol.
"""

from __future__ import annotations

import ipaddress
import json
import os
import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeVar

from pydantic import BaseModel, ValidationError

from clampgateway.config.lines import TomlPath, line_of, locate
from clampgateway.config.problems import (
    ConfigError,
    Problem,
    dotted,
    nearest,
    problems_of,
    shown,
)
from clampgateway.config.settings import CORE, ApiSettings, GatewaySettings, StoreSettings

FILE_BYTES_MAX = 1 << 20

M = TypeVar("M", bound=BaseModel)


class Section(NamedTuple):
    """A section that a source or a bridge brings. `settings` loads its model when it is used.

    `kind` is "source" (may be repeated as [[name]]) or "bridge" (once).
    """

    kind: Literal["source", "bridge"]
    settings: Callable[[], type[BaseModel]]


class Part(NamedTuple):
    """One source or bridge to run: its own name (`serial`, `serial2`), section and settings."""

    name: str
    section: str
    settings: Any

    def __str__(self) -> str:
        """For one line of a summary: the section, and the port or address it uses."""
        host = getattr(self.settings, "bind", None) or getattr(self.settings, "host", None)
        port = getattr(self.settings, "port", None)
        if host is None:
            return self.section if port is None else f"{self.section}({port})"
        return f"{self.section}({host}:{port})"


@dataclass(frozen=True, slots=True)
class Config:
    """All that is in effect. `state_dir` is absolute; it need not exist yet."""

    file: Path
    gateway: GatewaySettings
    store: StoreSettings
    api: ApiSettings
    sources: tuple[Part, ...]
    bridges: tuple[Part, ...]
    state_dir: Path

    def summary(self) -> str:
        """What is in effect, in one line, without secrets."""
        return (
            f"site={self.gateway.site} id={self.gateway.id or '(made at first start)'} "
            f"state_dir={self.state_dir} "
            f"sources={', '.join(map(str, self.sources)) or 'none'} "
            f"bridges={', '.join(map(str, self.bridges)) or 'none'} "
            f"api={self.api.bind}:{self.api.port or '(free port)'}"
        )


def load(
    path: Path, sections: Mapping[str, Section], env: Mapping[str, str] = os.environ
) -> Config:
    """Reads and validates a file.

    Args:
        path: The TOML file, UTF-8, at most 1 MiB. Relative paths inside are from its folder.
        sections: What sources and bridges bring, by section name.
        env: Where the default of state_dir comes from.

    Raises:
        ConfigError: With every problem found; a TOML syntax error is one alone, because nothing
            behind it can be judged.
    """
    path = path.absolute()
    text = _read(path)
    document = _parse(path, text)
    return _Loader(path, document, locate(text), sections).run(env)


def load_model(path: Path, model: type[M]) -> M:
    """Reads a file that is one model as a whole, as a profile of a meter is.

    Raises ConfigError with every problem found, as `load` does.
    """
    text = _read(path)
    document = _parse(path, text)
    try:
        return _validated(model, document, path.parent)
    except ValidationError as error:
        raise ConfigError(path, problems_of(error, model, (), locate(text))) from None


def default_state_dir(env: Mapping[str, str] = os.environ) -> Path:
    """What systemd gives (StateDirectory=), else the user's own state folder."""
    given = env.get("STATE_DIRECTORY", "").partition(":")[0]
    if given:
        return Path(given)
    state = env.get("XDG_STATE_HOME", "")
    return Path(state or "~/.local/state").expanduser().absolute() / "clampwork"


def _read(path: Path) -> str:
    try:
        with path.open("rb") as file:
            data = file.read(FILE_BYTES_MAX + 1)
    except OSError as error:
        raise ConfigError(path, [Problem(1, "", f"cannot be read: {error.strerror}")]) from error
    if len(data) > FILE_BYTES_MAX:
        raise ConfigError(path, [Problem(1, "", f"is larger than {FILE_BYTES_MAX} bytes")])
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        # The place counts from behind a byte order mark.
        bad = len(data) - len(error.object) + error.start
        what = f"byte 0x{data[bad]:02x} is not UTF-8"
        line = data.count(b"\n", 0, bad) + 1
        raise ConfigError(path, [Problem(line, "", what, "save the file as UTF-8")]) from error


def _parse(path: Path, text: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        found = re.fullmatch(r"(.*?)(?: \(at (?:line (\d+), column (\d+)|.*)\))?", str(error))
        what, line, column = found.groups() if found else (str(error), None, None)
        place = f"column {column}: " if column else "end of the file: "
        what = f"{place}not TOML: {what[:1].lower()}{what[1:]}"
        problem = Problem(int(line) if line else text.count("\n") + 1, "", what)
    except RecursionError:
        problem = Problem(1, "", "not TOML: nested too deeply")
    raise ConfigError(path, [problem])


def _validated(model: type[M], table: object, folder: Path) -> M:
    # By way of JSON: pydantic's strict JSON mode takes text for a path and an array for a tuple,
    # as a file has to write them, but no text for a number.
    text = json.dumps(table, default=str)
    return model.model_validate_json(text, strict=True, context={"folder": folder})


class _Loader:
    """One pass over one document. `found` has each valid table with its place, in file order."""

    def __init__(
        self,
        path: Path,
        document: dict[str, Any],
        lines: Mapping[TomlPath, int],
        sections: Mapping[str, Section],
    ) -> None:
        self._path = path
        self._document = document
        self._lines = lines
        self._sections = sections
        self._problems: list[Problem] = []
        self._found: list[tuple[TomlPath, BaseModel]] = []

    def run(self, env: Mapping[str, str]) -> Config:
        for name, value in self._document.items():
            if name not in CORE and name not in self._sections:
                self._unknown(name, value)
        core: dict[str, Any] = {
            name: self._validate(model, self._document.get(name, {}), (name,))
            for name, model in CORE.items()
        }
        parts = {"source": self._parts("source"), "bridge": self._parts("bridge")}
        self._check_listeners()
        self._check_serial_ports()
        state_dir = self._state_dir(core["gateway"], env)
        if self._problems:
            raise ConfigError(self._path, self._problems)
        sources, bridges = tuple(parts["source"]), tuple(parts["bridge"])
        return Config(self._path, **core, sources=sources, bridges=bridges, state_dir=state_dir)

    def _problem(self, path: TomlPath, what: str, hint: str) -> None:
        line = line_of(self._lines, path)
        self._problems.append(Problem(line, dotted(path), what, hint))

    def _unknown(self, name: str, value: object) -> None:
        known = sorted({*CORE, *self._sections})
        if isinstance(value, dict) or (isinstance(value, list) and any(map(_is_table, value))):
            self._problem((name,), "there is no such section", nearest(name, known))
            return
        owner = next((one for one, model in CORE.items() if name in model.model_fields), "")
        hint = f"put it under [{owner}]" if owner else "sections: " + ", ".join(known)
        self._problem((name,), "stands in no section", hint)

    def _parts(self, kind: str) -> list[Part]:
        parts: list[Part] = []
        for name, value in self._document.items():
            section = self._sections.get(name)
            if section is None or section.kind != kind:
                continue
            model = section.settings()
            for number, (place, table) in enumerate(self._tables(name, kind, value), start=1):
                made = self._validate(model, table, place)
                if made is not None:
                    own = name if number == 1 else f"{name}{number}"
                    parts.append(Part(own, name, made))
        return parts

    def _tables(self, name: str, kind: str, value: object) -> list[tuple[TomlPath, object]]:
        """The tables of a section with their places; a single [name] is a list of one."""
        if not isinstance(value, list):
            return [((name,), value)]
        places: list[tuple[TomlPath, object]] = [((name, at), one) for at, one in enumerate(value)]
        if kind == "bridge" and len(places) > 1:
            self._problem(places[1][0], "a bridge is given once", f"keep one [{name}]")
            return places[:1]
        return places

    def _validate(self, model: type[BaseModel], table: object, place: TomlPath) -> Any:  # noqa: ANN401 - an instance of `model`, None after a problem
        try:
            made = _validated(model, table, self._path.parent)
        except ValidationError as error:
            self._problems += problems_of(error, model, place, self._lines)
            return None
        self._found.append((place, made))
        return made

    def _check_listeners(self) -> None:
        """Two sections that would listen on one port. A section that has `bind` listens."""
        taken: list[tuple[int, str, TomlPath]] = []
        for place, settings in self._found:
            bind, port = getattr(settings, "bind", None), getattr(settings, "port", 0)
            if bind is None or not port:
                continue
            for other_port, other_bind, other in taken:
                if port == other_port and _overlap(bind, other_bind):
                    # A default is not at fault where the file names the other's port.
                    named = (*place, "port") in self._lines
                    at, by = (place, other) if named else (other, place)
                    what = f"port {port} is taken by [{dotted(by)}]"
                    self._problem((*at, "port"), what, "give each a port of its own")
            taken.append((port, bind, place))

    def _check_serial_ports(self) -> None:
        """Two sources that would open one port, or one pattern of ports."""
        seen: dict[tuple[str | int, str], TomlPath] = {}
        for place, settings in self._found:
            port = getattr(settings, "port", None)
            if not isinstance(port, str | Path):
                continue
            first = seen.setdefault((place[0], str(port)), place)
            if first != place:
                what = f"{shown(str(port))} is in [{dotted(first)}] already"
                self._problem((*place, "port"), what, "remove one of the two")

    def _state_dir(self, gateway: GatewaySettings | None, env: Mapping[str, str]) -> Path:
        given = gateway.state_dir if gateway is not None else None
        folder = given or default_state_dir(env)
        if folder.exists() and not folder.is_dir():
            what = f"{shown(folder)} is not a folder"
            self._problem(("gateway", "state_dir"), what, "name a folder")
        return folder


def _is_table(value: object) -> bool:
    return isinstance(value, dict)


def _overlap(one: str, other: str) -> bool:
    return one == other or any(ipaddress.ip_address(bind).is_unspecified for bind in (one, other))
