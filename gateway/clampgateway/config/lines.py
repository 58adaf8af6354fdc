"""On which line of a TOML file each key stands.

`tomllib` tells values without places; a message without its line is half a message. This scan
runs over a text that `tomllib` has accepted, so it only has to find where keys and values end,
and judges nothing. Ref: TOML 1.0.0, https://toml.io/en/v1.0.0
"""

from __future__ import annotations

import re
import tomllib
from bisect import bisect_right
from collections.abc import Mapping

TomlPath = tuple[str | int, ...]

# A whole string of each of the four kinds. The multi-line kinds may end in up to five quotes, of
# which the first two belong to the text.
_STRING = re.compile(
    r'"""(?:[^\\"]|\\.|"{1,2}(?!"))*"{3,5}'
    r"|'''(?:[^']|'{1,2}(?!'))*'{3,5}"
    r'|"(?:[^\\"\n]|\\.)*"'
    r"|'[^'\n]*'",
    re.DOTALL,
)
_BLANK = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_BARE = re.compile(r"[^,\]}\n#]*")


def locate(text: str) -> dict[TomlPath, int]:
    """Line (from 1) of every table, key and array element of a valid TOML `text`.

    A path is a tuple of keys and, inside arrays, of indices: ("serial", 1, "port"). A table is
    at its header; one that is only implied by a longer header or a dotted key, at the first of
    them.
    """
    return _Scan(text).run()


def line_of(lines: Mapping[TomlPath, int], path: TomlPath) -> int:
    """Line of `path`, or of the nearest thing around it that has a line; 1 without any."""
    for length in range(len(path), 0, -1):
        if path[:length] in lines:
            return lines[path[:length]]
    return 1


class _Scan:
    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._starts = [0, *(found.end() for found in re.finditer("\n", text))]
        self._lines: dict[TomlPath, int] = {}
        self._elements: dict[TomlPath, int] = {}

    def run(self) -> dict[TomlPath, int]:
        table: TomlPath = ()
        self._skip()
        while self._at < len(self._text):
            if self._text.startswith("[", self._at):
                table = self._header()
            else:
                self._pair(table)
            self._skip()
        return self._lines

    def _header(self) -> TomlPath:
        line = self._line()
        many = self._text.startswith("[[", self._at)
        self._at += 1 + many
        keys = self._keys("]")
        self._at += 1 + many
        path: TomlPath = ()
        for place, key in enumerate(keys):
            path += (key,)
            self._lines.setdefault(path, line)
            last = place == len(keys) - 1
            if many and last:
                self._elements[path] = self._elements.get(path, -1) + 1
            if path in self._elements:
                path += (self._elements[path],)
                self._lines.setdefault(path, line)
        self._lines[path] = line
        return path

    def _pair(self, table: TomlPath) -> None:
        line = self._line()
        path = table
        for key in self._keys("="):
            path += (key,)
            self._lines.setdefault(path, line)
        self._at += 1
        self._skip()
        self._value(path)

    def _value(self, path: TomlPath) -> None:
        self._lines.setdefault(path, self._line())
        opening = self._text[self._at : self._at + 1]
        if opening in ('"', "'"):
            self._string()
        elif opening == "[":
            self._list(path)
        elif opening == "{":
            self._inline(path)
        else:
            self._at = self._match(_BARE)

    def _list(self, path: TomlPath) -> None:
        self._at += 1
        index = 0
        self._skip()
        while not self._text.startswith("]", self._at):
            self._value((*path, index))
            index += 1
            self._skip(",")
        self._at += 1

    def _inline(self, path: TomlPath) -> None:
        self._at += 1
        self._skip()
        while not self._text.startswith("}", self._at):
            self._pair(path)
            self._skip(",")
        self._at += 1

    def _keys(self, end: str) -> list[str]:
        """Keys of a dotted key up to `end`; `tomllib` itself undoes quotes and escapes."""
        start = self._at
        while self._text[self._at] != end:
            if self._text[self._at] in "\"'":
                self._string()
            else:
                self._at += 1
        found: list[str] = []
        inner = tomllib.loads(self._text[start : self._at] + " = 0")
        while isinstance(inner, dict):
            (key, inner) = next(iter(inner.items()))
            found.append(key)
        return found

    def _string(self) -> None:
        self._at = self._match(_STRING)

    def _skip(self, separator: str = "") -> None:
        """Over blanks, line ends and comments, and over one `separator` if it is there."""
        self._at = self._match(_BLANK)
        if separator and self._text.startswith(separator, self._at):
            self._at += 1
            self._at = self._match(_BLANK)

    def _match(self, pattern: re.Pattern[str]) -> int:
        found = pattern.match(self._text, self._at)
        if found is None or (pattern is _STRING and not found[0]):
            raise ValueError(f"not TOML at character {self._at}: tomllib must accept it first")
        return found.end()

    def _line(self) -> int:
        return bisect_right(self._starts, self._at)
