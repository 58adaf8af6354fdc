"""hal.py of the ESP32, imported with fakes for the modules of the chip, and a board for it."""

import math
import sys

import fake_esp32
from fake_esp32_i2s import I2S, FakeSelect

# Compiling takes more memory than running, so everything is compiled while there is most.
from clampdevice.hal.esp32 import i2s, oneshot, paced  # noqa: F401
from clampdevice.hal.esp32.chips import chip_of


class _Time:
    """The module `time` of the world that lives."""

    @staticmethod
    def ticks_us() -> int:
        return fake_esp32.WORLD.ticks_us()

    @staticmethod
    def sleep_us(us: int) -> None:
        fake_esp32.WORLD.sleep_us(us)


def _hal_module():
    """hal.py, imported with the fake in place of `machine` and `esp32`."""
    before = {name: sys.modules.get(name) for name in ("machine", "esp32")}
    fake_esp32.I2S = I2S  # type: ignore[attr-defined]
    sys.modules["machine"] = sys.modules["esp32"] = fake_esp32
    try:
        from clampdevice.hal.esp32 import hal
    finally:
        for name, module in before.items():
            if module is None:
                del sys.modules[name]
            else:
                sys.modules[name] = module
    hal.time = _Time
    hal.chip_of = lambda _text: chip_of("Generic ESP32 module with ESP32")
    if not hasattr(sys.implementation, "_machine"):
        sys.implementation._machine = "CPython"  # type: ignore[attr-defined]
    i2s.select = FakeSelect
    return hal


HAL = _hal_module()
LINK = {"kind": "uart", "uart": 1, "tx_pin": 17, "rx_pin": 16}


def make_config(**adc: object) -> dict:
    part: dict = {"rate_hz": 1000, "slots": 2, "pins": [36, 39], "bits": 16, "vref_v": 2.3}
    part.update(adc)
    return {
        "board": "esp32-devkitc",
        "chip": "esp32",
        "link": LINK,
        "name": "lathe",
        "sources": {"adc": part, "inputs": {"pins": [27]}},
        "channels": [
            {"key": "current1", "quantity": "current", "slot": 0, "a_per_v": 30},
            {"key": "current2", "quantity": "current", "slot": 1, "a_per_v": 30},
            {"key": "input1", "quantity": "input", "index": 0},
        ],
    }


def sine(gpio: int, us: int) -> float:
    mv = 500 if gpio == 36 else 250
    return 1300 + mv * math.sin(2 * math.pi * 50 * us / 1000000)
