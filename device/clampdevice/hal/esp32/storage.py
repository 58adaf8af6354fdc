"""What survives a reset: numbers in NVS, documents in the file system; and what writing costs.

The boot number, the counters and the ADC's line go to NVS: it appends entries of 32 bytes to a
page of 4 KB and erases one when it is full, while a file system copies and erases at nearly every
write, and a flash erase stops both cores for up to 80 ms. NVS replaces a value or leaves the old
one, whatever happens to the power. Documents (`*.json`) stay files, where mpremote finds them.

Ref: MicroPython docs/library/esp32.rst "Non-Volatile Storage", ports/esp32/esp32_nvs.c; ESP-IDF
nvs.h (keys of at most 15 characters; ESP_ERR_NVS_NOT_FOUND 0x1102).
"""

import os

from clampdevice.hal.esp32.costs import FlashCost

NAMESPACE = "clampwork"
_KEY_MAX = 15
_NOT_FOUND = -0x1102  # check_esp_err raises OSError(-code)
_BLOB_BYTES = 2048


class Storage:
    """Named values and documents.

    Args:
        nvs: `esp32.NVS` of this firmware's namespace.
        cost: `FlashCost`.
        folder: of the documents.

    Attributes:
        faults: reads that failed for another reason than that there is nothing.
    """

    def __init__(self, nvs, cost: FlashCost, folder: str = "/") -> None:
        self._nvs = nvs
        self._cost = cost
        self._folder = folder
        self._blob = bytearray(_BLOB_BYTES)
        self.faults = 0

    def read_slot(self, slot: int) -> bytes:
        """A boot slot, b"" if it was never written."""
        return self._read_blob("boot." + str(slot))

    def write_slot(self, slot: int, data: bytes) -> None:
        self._write_blob("boot." + str(slot), data)

    def read_file(self, name: str) -> bytes:
        """A value or document, b"" if there is none."""
        if not name.endswith(".json"):
            return self._read_blob(name)
        try:
            with open(self._folder + name, "rb") as file:
                return file.read()
        except OSError:
            return b""

    def write_file(self, name: str, data: bytes) -> None:
        """Replaces a value or document, or leaves the old one.

        Raises:
            OSError: it could not be written.
            ValueError: too long, the name or the value.
        """
        if not name.endswith(".json"):
            self._write_blob(name, data)
            return
        self._cost.begin()
        try:
            with open(self._folder + name + ".new", "wb") as file:
                file.write(data)
            os.rename(self._folder + name + ".new", self._folder + name)
        finally:
            self._cost.end()

    def _read_blob(self, key: str) -> bytes:
        try:
            count = self._nvs.get_blob(key, self._blob)
        except OSError as error:
            if error.args[0] != _NOT_FOUND:
                self.faults += 1
            return b""
        return bytes(self._blob[:count])

    def _write_blob(self, key: str, data: bytes) -> None:
        if len(key) > _KEY_MAX or len(data) > _BLOB_BYTES:
            raise ValueError(
                f"NVS: key {key!r} of {len(key)} and value of {len(data)} bytes; at most "
                f"{_KEY_MAX} and {_BLOB_BYTES}"
            )
        self._cost.begin()
        try:
            self._nvs.set_blob(key, data)
            self._nvs.commit()
        finally:
            self._cost.end()
