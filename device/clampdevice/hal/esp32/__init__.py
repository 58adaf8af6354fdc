"""The ESP32 family under MicroPython; `hal.Hal` puts the parts together. See docs/esp32.md."""
