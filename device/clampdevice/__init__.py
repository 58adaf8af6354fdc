"""The firmware: samples, reduces to records, spools and sends. Runs on MicroPython and CPython."""
