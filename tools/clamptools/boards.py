"""A board's TOML, validated as a whole, as the board.json that a device reads.

Owns the reading, the checks that span several tables, and the shape of board.json. Single values
are `boardtables.py`, what the chip can do is `boardchips.py`; what the firmware itself insists on
is `clampdevice.board`.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from clampgateway.config import Problem, Settings
from clampgateway.config.lines import TomlPath, line_of, locate
from clampgateway.config.problems import dotted, nearest, problems_of
from clamptools.boardchips import ADC_LIMIT_HZ, check_chip
from clamptools.boardtables import (
    CHANNELS,
    TABLES,
    AnalogTable,
    CurrentTable,
    InputTable,
    SpoolTable,
    ThresholdTable,
    VibrationTable,
    VoltageTable,
)
from clamptools.data import boards_dir
from clamptools.errors import UserError
from clampwire import messages

RING_BYTES_MAX = 65_536
# What the velocity filter has a design for.
VELOCITY_RATE_HZ = (784, 6528)
# Features of a current that need a measured voltage, and those for which a nominal one will do.
PAIRED = ("real", "pf", "energy")
APPARENT = ("apparent", "apparent_energy")


class BoardError(UserError):
    """The board file cannot be used. `problems` has all of them, in the order of their lines."""

    def __init__(self, file: Path, problems: Iterable[Problem]) -> None:
        self.problems = sorted(problems)
        super().__init__("\n".join(f"{file}: {problem}" for problem in self.problems))


def board_names() -> list[str]:
    """The boards there are."""
    return sorted(path.stem for path in boards_dir().glob("*.toml"))


def read_board(name: str | Path) -> dict[str, Any]:
    """Content of board.json for a board of ours by its name, or for a file.

    Raises:
        BoardError: The file is wrong; every problem has its line.
        UserError: There is no such board.
    """
    path = Path(name)
    if path.suffix != ".toml":
        path = boards_dir() / f"{name}.toml"
        if not path.is_file():
            raise UserError(f"no board {name!r}: {', '.join(board_names())}")
    try:
        text = path.read_text(encoding="utf-8")
        document = tomllib.loads(text)
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from error
    except ValueError as error:  # not TOML, or not UTF-8
        raise BoardError(path, [Problem(1, "", f"not TOML: {error}")]) from error
    return _Reader(path, document, locate(text)).run()


class _Reader:
    """One pass over one document."""

    def __init__(self, path: Path, document: dict[str, Any], lines: dict[TomlPath, int]) -> None:
        self._path = path
        self._document = document
        self._lines = lines
        self._problems: list[Problem] = []
        self._tables: dict[str, Any] = {}
        self._channels: list[tuple[TomlPath, Any]] = []

    def run(self) -> dict[str, Any]:
        for name in self._document:
            if name not in TABLES and name != "channel":
                self._say((name,), "there is no such table", nearest(name, [*TABLES, "channel"]))
        for name, model in TABLES.items():
            if name in self._document:
                self._tables[name] = self._validate(model, self._document[name], (name,))
        if "board" not in self._document:
            self._say((), "[board] is missing", "it holds name, chip and device")
        self._read_channels()
        self._check_names()
        self._check_converter()
        self._check_vibration()
        self._check_state()
        self._check_chip()
        if self._problems:
            raise BoardError(self._path, self._problems)
        return self._board()

    def _say(self, path: TomlPath, what: str, hint: str = "") -> None:
        self._problems.append(Problem(line_of(self._lines, path), dotted(path), what, hint))

    def _validate(self, model: type[Settings], table: object, path: TomlPath) -> Any:  # noqa: ANN401 - an instance of `model`, None after a problem
        try:
            return model.model_validate(table)
        except ValidationError as error:
            self._problems += problems_of(error, model, path, self._lines)
            return None

    def _read_channels(self) -> None:
        tables = self._document.get("channel", [])
        if not isinstance(tables, list) or not tables:
            self._say(("channel",), "no [[channel]], so there is nothing to measure")
            return
        if len(tables) > messages.CHANNELS_MAX:
            self._say(
                ("channel", messages.CHANNELS_MAX), f"more than {messages.CHANNELS_MAX} channels"
            )
        for number, table in enumerate(tables):
            path: TomlPath = ("channel", number)
            quantity = table.get("quantity")
            if quantity not in CHANNELS:
                what = f"is {quantity!r}, must be one of {', '.join(CHANNELS)}"
                self._say((*path, "quantity"), what)
                continue
            model, source = CHANNELS[quantity]
            channel = self._validate(model, table, path)
            if source not in self._document:
                self._say(path, f"a channel of {quantity} needs [{source}]")
            if channel is not None:
                self._channels.append((path, channel))

    def _check_names(self) -> None:
        board = self._tables.get("board")
        if board is not None and board.name != self._path.stem:
            self._say(("board", "name"), f"is {board.name!r}, but the file is {self._path.name}")
        keys: dict[str, TomlPath] = {}
        for path, channel in self._channels:
            if channel.key in keys:
                self._say((*path, "key"), f"{channel.key!r} is also {dotted(keys[channel.key])}")
            keys.setdefault(channel.key, path)

    def _check_converter(self) -> None:
        adc = self._tables.get("adc")
        taken: dict[int, str] = {}
        if adc is not None and adc.temperature_slot is not None:
            taken[adc.temperature_slot] = "the temperature"
            if adc.temperature_slot >= adc.slots:
                self._say(("adc", "temperature_slot"), f"there are {adc.slots} slots, from 0")
        for path, channel in self._channels:
            if not isinstance(channel, AnalogTable):
                continue
            if adc is not None and channel.slot >= adc.slots:
                self._say((*path, "slot"), f"there are {adc.slots} slots, from 0")
            elif channel.slot in taken:
                self._say((*path, "slot"), f"slot {channel.slot} is {taken[channel.slot]}'s")
            taken.setdefault(channel.slot, channel.key)
            if isinstance(channel, CurrentTable):
                self._check_scale(path, channel)
                self._check_power(path, channel)
        if adc is None:
            return
        board = self._tables.get("board")
        limit = ADC_LIMIT_HZ.get(board.chip if board is not None else "", 500_000)
        total = adc.rate_hz * adc.slots
        if total > limit:
            self._say(("adc", "rate_hz"), f"{total:g} samples a second, the chip has {limit}")
        if total * 2 * adc.ring_ms / 1000 > RING_BYTES_MAX:
            what = (
                f"the ring takes {total * adc.ring_ms / 500:.0f} bytes, {RING_BYTES_MAX} at most"
            )
            self._say(("adc", "ring_ms"), what)

    def _check_scale(self, path: TomlPath, channel: CurrentTable) -> None:
        ratio = (channel.ct_ratio, channel.burden_ohm)
        if channel.a_per_v is not None and any(part is not None for part in ratio):
            what = "a_per_v, and ct_ratio or burden_ohm"
            hint = "a transformer with a voltage output has its own burden: keep a_per_v alone"
            self._say(path, what, hint)
        elif channel.a_per_v is None and any(part is None for part in ratio):
            hint = "a_per_v for a voltage output, ct_ratio and burden_ohm for a current output"
            self._say(path, "no scale", hint)

    def _check_power(self, path: TomlPath, channel: CurrentTable) -> None:
        others = {c.key: c for _path, c in self._channels}
        if channel.voltage is not None and not isinstance(
            others.get(channel.voltage), VoltageTable
        ):
            self._say((*path, "voltage"), f"no voltage channel {channel.voltage!r}")
        for key in channel.runs_with or []:
            if key not in others:
                self._say((*path, "runs_with"), f"no channel {key!r}", nearest(key, [*others]))
        for feature in channel.features or []:
            if feature in PAIRED and channel.voltage is None:
                hint = "voltage names the channel that measures it"
                self._say((*path, "features"), f"{feature!r} needs a voltage channel", hint)
            elif feature in APPARENT and channel.voltage is None and channel.voltage_v is None:
                hint = "voltage, or voltage_v for a nominal one"
                self._say((*path, "features"), f"{feature!r} needs a voltage", hint)

    def _check_vibration(self) -> None:
        sensor = self._tables.get("accelerometer")
        found = [pair for pair in self._channels if isinstance(pair[1], VibrationTable)]
        for path, _channel in found[1:]:
            self._say(path, "a second channel of the one accelerometer")
        if sensor is None or not found:
            return
        path, channel = found[0]
        if len(channel.axes) > sensor.slots:
            self._say((*path, "axes"), f"the accelerometer has {sensor.slots} slots")
        for key in ("gain", "offset_m_s2"):
            given = getattr(channel, key)
            if given is not None and len(given) != len(channel.axes):
                self._say((*path, key), f"{len(given)} for {len(channel.axes)} axes")
        low, high = VELOCITY_RATE_HZ
        wants = channel.features is None or any(f.startswith("v_") for f in channel.features)
        if wants and not low <= sensor.rate_hz <= high:
            what = f"velocity needs {low} to {high} Hz"
            self._say(("accelerometer", "rate_hz"), what, "or name features without v_")

    def _check_chip(self) -> None:
        board = self._tables.get("board")
        if board is not None:
            for said in check_chip(board.chip, self._tables, self._channels):
                self._say(*said)

    def _check_state(self) -> None:
        state = self._tables.get("state")
        if state is None:
            return
        levels = [c.key for _path, c in self._channels if not isinstance(c, InputTable)]
        if (state.on is None) != (state.working is None):
            self._say(("state",), "on and working go together", "or have [state.learn] alone")
        if state.on is None and state.learn is None:
            self._say(("state",), "neither thresholds nor [state.learn]")
        quantities = [channel.quantity for _path, channel in self._channels]
        if state.learn is not None and "current" not in quantities:
            self._say(("state", "learn"), "no current to learn from")
        parts: list[tuple[TomlPath, ThresholdTable]] = []
        if state.on is not None:
            parts.append((("state", "on"), state.on))
        for i, part in enumerate(state.working or ()):
            parts.append((("state", "working", i), part))
        for path, part in parts:
            for key in part.channels:
                if key not in levels:
                    hint = nearest(key, levels) if levels else ""
                    self._say((*path, "channels"), f"no current or vibration {key!r}", hint)

    def _board(self) -> dict[str, Any]:
        board = self._tables["board"]
        result: dict[str, Any] = {
            "board": board.name,
            "chip": board.chip,
            "name": board.device,
            "spool": (self._tables.get("spool") or SpoolTable()).model_dump(exclude_none=True),
            "sources": {
                name: self._tables[name].model_dump(exclude_none=True)
                for name in ("adc", "accelerometer", "inputs")
                if name in self._tables
            },
            "channels": [c.model_dump(exclude_none=True) for _path, c in self._channels],
        }
        if board.id is not None:
            result["id"] = board.id
        for name in ("link", "pins"):
            if name in self._tables:
                result[name] = self._tables[name].model_dump(exclude_none=True)
        if "state" in self._tables:
            result["state"] = self._tables["state"].model_dump(exclude_none=True)
        return result
