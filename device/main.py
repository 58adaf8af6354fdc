"""Starts the firmware. Ctrl-C at any time leaves MicroPython's prompt to mpremote."""

from clampdevice.start import main

main()
