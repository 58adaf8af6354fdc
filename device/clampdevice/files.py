"""Small files that a power cut must not tear: the whole old content or the whole new one.

Owns the order of writing: a file beside it, closed, then renamed over the old one. Needs a file
system that renames in one step, as littlefs and POSIX ones do, with the firmware's folder as the
working directory. On a board a write may erase flash with all interrupts off; how often is the
caller's business.
"""

import os


class Files:
    """Files in `folder`, which ends in a slash, or is empty: the working directory."""

    def __init__(self, folder: str = "") -> None:
        self._folder = folder

    def read_file(self, name: str) -> bytes:
        """The content, b"" if there is none."""
        try:
            with open(self._folder + name, "rb") as file:
                return file.read()
        except OSError:
            return b""

    def write_file(self, name: str, data: bytes) -> None:
        """Replaces the content. Raises OSError; the old one stays then."""
        path = self._folder + name
        with open(path + ".new", "wb") as file:
            file.write(data)
        os.rename(path + ".new", path)
