"""Where the boot number lives: two small files of the board's file system.

littlefs replaces a file's content when it is closed, or not at all, so that a power cut leaves
the old number or the new one. Each slot is written once a power-up at most, before sampling: a
write may erase flash, with all interrupts off.
"""


class BootSlots:
    """Slots 0 and 1 in `folder`."""

    def __init__(self, folder: str = "/") -> None:
        self._folder = folder

    def _name(self, slot: int) -> str:
        return self._folder + "boot." + str(slot)

    def read_slot(self, slot: int) -> bytes:
        """The content, b"" if it was never written."""
        try:
            with open(self._name(slot), "rb") as file:
                return file.read()
        except OSError:
            return b""

    def write_slot(self, slot: int, data: bytes) -> None:
        with open(self._name(slot), "wb") as file:
            file.write(data)
