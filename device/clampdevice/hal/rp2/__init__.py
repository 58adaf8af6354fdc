"""RP2040 and RP2350 under MicroPython; `hal.Hal` puts the parts together."""
