"""Reads a recording of one quantity from .npz, .csv or .wav.

Owns the choice of the column and what a file says of its rate and unit. Numbers come out in
float64 as the file has them; how they reach a simulated sensor is `replay.py`.
"""

from __future__ import annotations

import csv
import io
import json
import re
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from clamptools.errors import UserError
from clamptools.wav import WavError, read_wav

_SPEC = re.compile(r"(?P<name>.+?)\[(?P<index>[0-9:,\s-]+)\]")
_CSV_DELIMITERS = ",;\t"


@dataclass(frozen=True)
class Recording:
    """One quantity over time.

    Attributes:
        name: File, and column where the file has several.
        samples: float64, shape (n,), in `unit`, or codes where `full_code` says so.
        rate_hz: Samples a second, None where the file does not say.
        unit: As the file names it, "" where it does not.
        full_code: Largest code of an integer or WAV recording, which knows no unit; else None.
        column: As it was chosen.
        beside: The same column of another sensor in the file, "" where there is none: the file
            has two arrays of the same shape but for their length, each with a rate of its own.
    """

    name: str
    samples: np.ndarray
    rate_hz: float | None
    unit: str
    full_code: float | None
    column: str = ""
    beside: str = ""


@dataclass(frozen=True)
class _Table:
    """The arrays of a file, with what is known of them: meta by name, column names by width."""

    arrays: dict[str, np.ndarray]
    rates: dict[str, float]
    unit: str
    columns: tuple[str, ...] = ()
    full_code: float | None = None


def read_recording(path: Path, column: str | None) -> Recording:
    """Reads the column of a recording.

    Args:
        path: A .npz, .csv or .wav file.
        column: An array of the file, with an index if it has several dimensions:
            `NAME[0,:,1]`. None where the file has one array of one dimension.

    Raises:
        UserError: The file is no recording, or the column is not named or not there. The message
            lists the arrays where one must be chosen.
    """
    readers = {".npz": _read_npz, ".csv": _read_csv, ".wav": _read_wav}
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise UserError(f"{path}: a recording ends in {', '.join(readers)}")
    table = reader(path)
    name, samples = _choose(path, table, column)
    full_code = table.full_code
    if np.issubdtype(samples.dtype, np.integer):
        full_code = float(np.iinfo(samples.dtype).max)
    samples = np.asarray(samples, dtype=np.float64)
    bad = np.flatnonzero(~np.isfinite(samples))
    if bad.size:
        raise UserError(f"{path}: {name}: sample {bad[0]} is {samples[bad[0]]}, not a number")
    if samples.size == 0:
        raise UserError(f"{path}: {name} is empty")
    array = name.partition("[")[0] if name not in table.arrays else name
    return Recording(
        f"{path.name} {name}",
        samples,
        table.rates.get(array),
        table.unit,
        full_code,
        name,
        _beside(table, array, name),
    )


def _beside(table: _Table, array: str, column: str) -> str:
    """The column of the other sensor, see Recording."""
    others = [
        name
        for name, numbers in table.arrays.items()
        if name != array and numbers.shape[1:] == table.arrays[array].shape[1:]
    ]
    rates = [table.rates.get(name) for name in (array, *others)]
    if len(others) != 1 or None in rates or rates[0] == rates[1]:
        return ""
    return others[0] + column[len(array) :]


def _choose(path: Path, table: _Table, column: str | None) -> tuple[str, np.ndarray]:
    if not table.arrays:
        raise UserError(f"{path}: holds no array of numbers")
    if column is None:
        if len(table.arrays) > 1:
            raise UserError(
                f"{path} holds several arrays: choose one with --column\n{_list(table)}"
            )
        column = next(iter(table.arrays))
    if column in table.arrays:
        name, samples = column, table.arrays[column]
    else:
        match = _SPEC.fullmatch(column.strip())
        name = match["name"] if match else column
        if name not in table.arrays:
            raise UserError(f"{path} has no array {name!r}:\n{_list(table)}")
        samples = table.arrays[name]
        if match:
            samples = _index(path, column, samples, match["index"])
    if samples.ndim != 1:
        example = f"{name}[{','.join(['0'] * (samples.ndim - 1) + [':'])}]"
        if samples.shape[-1] <= samples.shape[0]:
            example = f"{name}[{','.join(['0'] * (samples.ndim - 2) + [':', '0'])}]"
        raise UserError(
            f"{path}: {column} has the shape {samples.shape}, one dimension is needed: "
            f"choose with --column, for example {example!r}\n{_list(table)}"
        )
    return column, samples


def _index(path: Path, column: str, array: np.ndarray, text: str) -> np.ndarray:
    """`array[text]` for whole numbers and slices only."""
    index: list[int | slice] = []
    try:
        for part in text.split(","):
            if ":" in part:
                index.append(
                    slice(*(int(end) if end.strip() else None for end in part.split(":")))
                )
            else:
                index.append(int(part))
        return array[tuple(index)]
    except (ValueError, TypeError, IndexError) as error:
        raise UserError(
            f"{path}: {column!r} does not fit an array of the shape {array.shape}: {error}"
        ) from error


def _list(table: _Table) -> str:
    width = max(map(len, table.arrays))
    lines = []
    for name, array in table.arrays.items():
        rate = f"  {table.rates[name]:g} Hz" if name in table.rates else ""
        lines.append(f"  {name:{width}}  {array.shape}  {array.dtype}{rate}")
    if table.columns:
        lines.append("  columns: " + ", ".join(f"{i} {c}" for i, c in enumerate(table.columns)))
    return "\n".join(lines)


def _read_npz(path: Path) -> _Table:
    """Arrays of numbers of an .npz; its `meta`, a JSON text, gives rate, unit and columns."""
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
    except (zipfile.BadZipFile, ValueError, EOFError, KeyError, AttributeError) as error:
        # The library's own words advise loading pickled objects, which nobody should.
        raise UserError(
            f"{path} is no recording: not a NumPy .npz file of plain numbers"
        ) from error
    meta = _meta(path, arrays.get("meta"))
    numbers = {
        name: array
        for name, array in arrays.items()
        if array.ndim >= 1 and array.dtype.kind in "iuf" and array.size > 1
    }
    stated = meta.get("fs")
    rates: dict[str, float] = {}
    for name in numbers:
        rate = stated.get(name) if isinstance(stated, dict) else stated
        beside = arrays.get(f"{name}_fs")
        if beside is not None and beside.ndim == 0 and beside.dtype.kind in "iuf":
            rate = float(beside)
        if isinstance(rate, int | float):
            rates[name] = float(rate)
    columns = meta.get("columns")
    return _Table(
        numbers,
        rates,
        str(meta.get("units", "")),
        tuple(map(str, columns)) if isinstance(columns, list) else (),
    )


def _meta(path: Path, array: np.ndarray | None) -> dict[str, Any]:
    if array is None:
        return {}
    try:
        meta = json.loads(str(array))
    except ValueError as error:
        raise UserError(f"{path}: its `meta` is not JSON: {error}") from error
    if not isinstance(meta, dict):
        raise UserError(f"{path}: its `meta` is not a JSON object")
    return meta


def _read_csv(path: Path) -> _Table:
    """Columns of a .csv, named by its first line if that is not numbers, else `column1` on."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is no recording: it is not text ({error.reason})") from error
    first_line = text.partition("\n")[0]
    delimiter = max(_CSV_DELIMITERS, key=first_line.count)
    rows = [row for row in csv.reader(io.StringIO(text), delimiter=delimiter) if any(row)]
    if not rows:
        raise UserError(f"{path} is no recording: the file is empty")
    # Where the semicolon parts the columns, the comma is often the decimal point.
    comma = delimiter != ","
    first = [_number(cell, comma) for cell in rows[0]]
    headed = None in first
    header = [cell.strip() for cell in rows[0]] if headed else []
    names = header or [f"column{i + 1}" for i in range(len(first))]
    if len(rows) == headed:
        raise UserError(f"{path} is no recording: it has no line of numbers")
    values = np.empty((len(rows) - headed, len(names)))
    for at, row in enumerate(rows[headed:]):
        numbers = [_number(cell, comma) for cell in row]
        if len(numbers) != len(names) or None in numbers:
            cell = row[numbers.index(None)] if None in numbers else f"{len(numbers)} columns"
            raise UserError(
                f"{path} is no recording: line {at + headed + 1} has {cell!r} "
                f"where {len(names)} numbers are expected"
            )
        values[at] = numbers
    return _Table({name: values[:, i] for i, name in enumerate(names)}, {}, "")


def _number(cell: str, comma: bool) -> float | None:
    try:
        return float(cell.replace(",", ".") if comma else cell)
    except ValueError:
        return None


def _read_wav(path: Path) -> _Table:
    """Channels of a .wav, as codes."""
    try:
        frames, rate_hz, full = read_wav(path.read_bytes())
    except WavError as error:
        raise UserError(f"{path} is no recording: {error}") from error
    names = [f"channel{i + 1}" for i in range(frames.shape[1])]
    return _Table(
        {name: frames[:, i] for i, name in enumerate(names)},
        dict.fromkeys(names, float(rate_hz)),
        "",
        full_code=full,
    )
