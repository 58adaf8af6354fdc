"""SQLite's own file operations, seen and spoiled from inside this process.

A layer in front of SQLite's operating-system interface, put in with ctypes into the very library
that Python's `sqlite3` runs on: no other build, no preload, no root. Hooks see each write,
truncation, sync and deletion of a database file before it happens, and may refuse it with an
error code. What they see is what the code under test does, not a model of it.

Ref: https://www.sqlite.org/c3ref/vfs.html, https://www.sqlite.org/c3ref/io_methods.html
"""

from __future__ import annotations

import _sqlite3
import contextlib
import ctypes
import sys
from collections.abc import Iterator
from ctypes import CFUNCTYPE, POINTER, Structure, byref, c_char_p, c_int, c_int64, c_void_p, cast
from pathlib import Path

import pytest

OK, IOERR, READONLY, FULL, CANTOPEN = 0, 10, 8, 13, 14
IOERR_WRITE, IOERR_FSYNC = 778, 1034

_Open = CFUNCTYPE(c_int, c_void_p, c_void_p, c_void_p, c_int, POINTER(c_int))
_Delete = CFUNCTYPE(c_int, c_void_p, c_void_p, c_int)
_Close = CFUNCTYPE(c_int, c_void_p)
_Write = CFUNCTYPE(c_int, c_void_p, c_void_p, c_int, c_int64)
_Truncate = CFUNCTYPE(c_int, c_void_p, c_int64)
_Sync = CFUNCTYPE(c_int, c_void_p, c_int)


class _Vfs(Structure):
    _fields_ = (
        ("iVersion", c_int),
        ("szOsFile", c_int),
        ("mxPathname", c_int),
        ("pNext", c_void_p),
        ("zName", c_char_p),
        ("pAppData", c_void_p),
        ("xOpen", c_void_p),
        ("xDelete", c_void_p),
        ("others", c_void_p * 14),
    )


class _Methods(Structure):
    _fields_ = (
        ("iVersion", c_int),
        ("xClose", c_void_p),
        ("xRead", c_void_p),
        ("xWrite", c_void_p),
        ("xTruncate", c_void_p),
        ("xSync", c_void_p),
        ("others", c_void_p * 13),
    )


class _File(Structure):
    _fields_ = (("pMethods", POINTER(_Methods)),)


class Hooks:
    """What a test overrides. Each returns OK, or the code with which the operation fails.

    `name` is the file's name without its folder. A refused operation does not happen.
    """

    def opened(self, name: str) -> int:
        """A file is to be opened, or made."""
        return OK

    def write(self, name: str, offset: int, data: bytes) -> int:
        return OK

    def truncate(self, name: str, size: int) -> int:
        return OK

    def sync(self, name: str) -> int:
        return OK

    def delete(self, name: str, sync_folder: bool) -> int:
        """`sync_folder`: the deletion is durable when the operation returns."""
        return OK


def library() -> ctypes.CDLL:
    """The SQLite that `sqlite3` uses. Skips where it cannot be reached from here."""
    try:
        maps = Path("/proc/self/maps").read_text()
    except OSError:
        pytest.skip("no /proc/self/maps: which SQLite is in use cannot be seen on this system")
    files = {line.split(maxsplit=5)[-1] for line in maps.splitlines() if "/" in line}
    shared = [path for path in files if "libsqlite3" in Path(path).name]
    for path in [*shared, _sqlite3.__file__, sys.executable]:
        with contextlib.suppress(OSError):
            lib = ctypes.CDLL(path)
            if hasattr(lib, "sqlite3_vfs_register"):
                lib.sqlite3_vfs_find.restype = c_void_p
                return lib
    pytest.skip("this Python has its SQLite linked in, without names that could be reached")


class Layer:
    """The layer between SQLite and the operating system; made by `installed`."""

    def __init__(self, lib: ctypes.CDLL, hooks: Hooks) -> None:
        self.hooks = hooks
        self.errors: list[BaseException] = []
        self._files: dict[int, tuple[str, _Methods]] = {}
        self._methods: dict[int, tuple[_Methods, _Methods]] = {}
        real = lib.sqlite3_vfs_find(None)
        self._real = real
        below = cast(real, POINTER(_Vfs)).contents
        self.vfs = _Vfs.from_buffer_copy(below)
        self.vfs.zName = b"clampwork-faults"
        self.vfs.pNext = None
        self._real_open = cast(below.xOpen, _Open)
        self._real_delete = cast(below.xDelete, _Delete)
        # Kept here as long as SQLite may call them.
        self._callbacks = (
            _Open(self._open),
            _Delete(self._delete),
            _Close(self._close),
            _Write(self._write),
            _Truncate(self._truncate),
            _Sync(self._sync),
        )
        self.vfs.xOpen = cast(self._callbacks[0], c_void_p).value
        self.vfs.xDelete = cast(self._callbacks[1], c_void_p).value

    def _ask(self, hook, *args: object) -> int:  # noqa: ANN001 - a method of Hooks
        try:
            return hook(*args)
        except BaseException as error:  # it would vanish in SQLite; the test gets it at the end
            self.errors.append(error)
            return IOERR

    def _open(self, _vfs, name, file, flags, out_flags) -> int:  # noqa: ANN001
        path = ctypes.string_at(name).decode() if name else ""
        short = Path(path).name
        if path and (refused := self._ask(self.hooks.opened, short)):
            cast(file, POINTER(c_void_p))[0] = None
            return refused
        code = self._real_open(self._real, name, file, flags, out_flags)
        if code == OK and path:
            opened = cast(file, POINTER(_File)).contents
            ours, real = self._patched(cast(opened.pMethods, c_void_p).value or 0)
            self._files[file] = short, real
            opened.pMethods = ctypes.pointer(ours)
        return code

    def _patched(self, address: int) -> tuple[_Methods, _Methods]:
        if address not in self._methods:
            real = cast(address, POINTER(_Methods)).contents
            ours = _Methods.from_buffer_copy(real)
            _open, _delete, close, write, truncate, sync = self._callbacks
            ours.xClose = cast(close, c_void_p).value
            ours.xWrite = cast(write, c_void_p).value
            ours.xTruncate = cast(truncate, c_void_p).value
            ours.xSync = cast(sync, c_void_p).value
            self._methods[address] = ours, real
        return self._methods[address]

    def _delete(self, _vfs, name, sync_folder) -> int:  # noqa: ANN001
        short = Path(ctypes.string_at(name).decode()).name
        refused = self._ask(self.hooks.delete, short, bool(sync_folder))
        return refused or self._real_delete(self._real, name, sync_folder)

    def _close(self, file) -> int:  # noqa: ANN001
        _name, real = self._files.pop(file)
        return cast(real.xClose, _Close)(file)

    def _write(self, file, data, size, offset) -> int:  # noqa: ANN001
        content = ctypes.string_at(data, size)
        name, real = self._files[file]
        refused = self._ask(self.hooks.write, name, offset, content)
        return refused or cast(real.xWrite, _Write)(file, data, size, offset)

    def _truncate(self, file, size) -> int:  # noqa: ANN001
        name, real = self._files[file]
        refused = self._ask(self.hooks.truncate, name, size)
        return refused or cast(real.xTruncate, _Truncate)(file, size)

    def _sync(self, file, flags) -> int:  # noqa: ANN001
        name, real = self._files[file]
        refused = self._ask(self.hooks.sync, name)
        return refused or cast(real.xSync, _Sync)(file, flags)


@contextlib.contextmanager
def installed(hooks: Hooks) -> Iterator[Layer]:
    """SQLite calls `hooks` for every file opened in this block; an error of a hook is raised."""
    lib = library()
    layer = Layer(lib, hooks)
    if lib.sqlite3_vfs_register(byref(layer.vfs), 1):
        raise OSError("SQLite does not take the layer")
    try:
        yield layer
    finally:
        lib.sqlite3_vfs_unregister(byref(layer.vfs))
        lib.sqlite3_vfs_register(c_void_p(layer._real), 1)
    if layer.errors:
        raise layer.errors[0]
