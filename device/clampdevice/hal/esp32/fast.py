"""What runs once a sample: the plain form, and the compiled one where there is any."""


def offset_binary(buf, first: int, n: int) -> object:
    """Turns `n` signed values in array('H') `buf` into offset binary, in place: 0 is 0x8000."""
    for index in range(first, first + n):
        buf[index] ^= 0x8000


try:
    from clampdevice.hal.esp32.fast_viper import offset_binary
except ImportError:
    pass  # CPython, in tests
except SyntaxError:
    pass  # a build without the native emitter, such as that of the ESP32-C2

__all__ = ("offset_binary",)
