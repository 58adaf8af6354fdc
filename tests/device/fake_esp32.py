"""A stand-in for `machine` and `esp32` on an ESP32, which refuses what that port refuses.

Owns a world of virtual time: what hardware does goes on by the clock, callbacks run when the
interpreter would let them. Written from the port's documentation and sources, MicroPython at
commit 1c3c201: docs/esp32/quickref.rst, docs/library/machine.{ADC,Timer,Pin,WDT,I2S,Counter}.rst,
docs/library/esp32.rst; ports/esp32/machine_{adc,pin,timer,uart,wdt}.c, adc.c, esp32_nvs.c,
modmachine.c; py/mpconfig.h (queue of 8, which drops in silence). I2S is `fake_esp32_i2s.py`.
"""

QUEUE = 8
ADC1 = (36, 37, 38, 39, 32, 33, 34, 35)
ADC2 = (4, 0, 2, 15, 13, 12, 14, 27, 25, 26)
GPIOS = tuple(range(20)) + (21, 22, 23, 25, 26, 27) + tuple(range(32, 40))
INPUT_ONLY = (34, 35, 36, 37, 38, 39)
READ_US = 40
ERASE_US = 80000
# The line of an ESP32 with a reference of 1,121 mV (its eFuse counts in steps of 7 mV from 1,100),
# ADC1 at 11 dB, ESP-IDF adc_cali_line_fitting.c: mv = 142 + vref * 196602 / 65536 / 4096 * code
OFFSET_MV = 142
MV_PER_CODE = 1121 * 196602 / 65536 / 4096


class World:
    """Virtual time and what happens in it. `mv`: function of (GPIO, us) to millivolts.

    Attributes:
        wifi: ADC2 fails while it is on.
        dropped: callbacks that found the queue full.
        blocked: calls that would have kept the firmware waiting, and for what.
    """

    def __init__(self, mv=None) -> None:
        self.us = 0
        self.mv = mv or (lambda _gpio, _us: 1300)
        self.wifi = False
        self.dropped = 0
        self.blocked: list = []
        self.timers: list = []
        self.levels: dict = {}
        self.pins: dict = {}
        self.counters: list = []
        self.watchdog_due: int | None = None
        self.resets = 0
        self._queue: list = []
        self._busy = False

    def ticks_us(self) -> int:
        return self.us & 0x3FFFFFFF

    def sleep_us(self, us: int) -> None:
        self.spend(us)

    def spend(self, us: int) -> None:
        """The interpreter is busy for `us` inside one call: interrupts fire, callbacks wait."""
        self._advance(self.us + us)

    def flash(self, us: int = ERASE_US) -> None:
        """A flash operation: not even the interrupts fire; each timer has one pending at most."""
        end = self.us + us
        for timer in self.timers:
            late = 0
            while timer.running and timer.next_us <= end:
                timer.next_us += timer.period_us
                late = 1
            if late:
                timer.pending = True
        self.us = end
        for timer in self.timers:
            if timer.pending:
                timer.pending = False
                self.schedule(timer.callback, timer)

    def run(self, us: int) -> None:
        """The interpreter runs for `us`, doing nothing: callbacks come at once."""
        end = self.us + us
        while True:
            self._pump()
            due = [timer.next_us for timer in self.timers if timer.running]
            if not due or min(due) > end:
                break
            self._advance(max(self.us, min(due)))
        self._advance(max(self.us, end))
        self._pump()

    def _advance(self, to: int) -> None:
        while True:
            due = None
            for timer in self.timers:
                if timer.running and timer.next_us <= to and (
                    due is None or timer.next_us < due.next_us
                ):  # fmt: skip
                    due = timer
            if due is None:
                break
            self.us = max(self.us, due.next_us)
            due.next_us += due.period_us
            self.schedule(due.callback, due)
        self.us = max(self.us, to)
        if self.watchdog_due is not None and self.us > self.watchdog_due:
            self.resets += 1
            self.watchdog_due = None

    def schedule(self, callback, argument) -> None:
        """mp_sched_schedule from an interrupt, its result ignored as the port does."""
        if len(self._queue) >= QUEUE:
            self.dropped += 1
        elif callback is not None:
            self._queue.append((callback, argument))

    def _pump(self) -> None:
        if self._busy:
            return
        self._busy = True
        while self._queue:
            callback, argument = self._queue.pop(0)
            callback(argument)
        self._busy = False

    def set_level(self, gpio: int, level: int) -> None:
        """The pin goes to `level`; counters count, handlers are scheduled."""
        before = self.levels.get(gpio, 1)
        self.levels[gpio] = level
        if level == before:
            return
        for counter in self.counters:
            if counter.gpio == gpio and level:
                counter.count += 1
        pin = self.pins.get(gpio)
        if pin is not None and pin.handler is not None:
            wanted = Pin.IRQ_RISING if level else Pin.IRQ_FALLING
            if pin.trigger & wanted:
                self.schedule(pin.handler, pin)


WORLD = World()


def new_world(mv=None) -> World:
    """A world of its own for a test; the classes below live in the newest."""
    global WORLD
    WORLD = World(mv)
    NVS.stored = {}
    return WORLD


class Pin:
    """machine.Pin; one object a GPIO."""

    IN, OUT, OPEN_DRAIN = 1, 3, 7
    PULL_DOWN, PULL_UP = 1, 2
    IRQ_RISING, IRQ_FALLING = 1, 2
    gpio = -1
    mode: int | None = None

    def __new__(cls, gpio, mode=None, pull=-1, *, value=None, drive=None, hold=None) -> "Pin":
        if gpio not in GPIOS:
            raise ValueError("invalid pin")
        pin = WORLD.pins.get(gpio)
        if pin is None:
            pin = WORLD.pins[gpio] = object.__new__(cls)
            pin.handler = None
            pin.trigger = 0
            pin.mode = None
        pin.gpio = gpio
        if mode in (cls.OUT, cls.OPEN_DRAIN) and gpio in INPUT_ONLY:
            raise ValueError("pin can only be input")
        if mode is not None:
            pin.mode = mode
        if value is not None:
            WORLD.levels[gpio] = value
        return pin

    def value(self, level=None) -> int | None:
        if level is None:
            return WORLD.levels.get(self.gpio, 1)
        WORLD.levels[self.gpio] = int(level)
        return None

    def irq(self, handler=None, trigger=3, wake=None) -> None:  # no `hard`: a TypeError
        if trigger & ~3:
            raise ValueError("bad trigger")
        self.handler = handler
        self.trigger = trigger


class ADC:
    """machine.ADC."""

    ATTN_0DB, ATTN_2_5DB, ATTN_6DB, ATTN_11DB = 0, 1, 2, 3

    def __init__(self, pin, *, atten=3) -> None:  # no `sample_ns` on this port
        gpio = pin.gpio if isinstance(pin, Pin) else pin
        if gpio not in ADC1 and gpio not in ADC2:
            raise ValueError("invalid pin")
        if not 0 <= atten <= 3:
            raise ValueError("invalid attenuation")
        self._gpio = gpio

    def _code(self) -> int:
        if self._gpio in ADC2 and WORLD.wifi:
            raise OSError(-0x107, "ESP_ERR_TIMEOUT")
        WORLD.spend(READ_US)
        mv = WORLD.mv(self._gpio, WORLD.us)
        if mv < 100:
            return 0  # the least that can be measured
        return max(0, min(4095, int((mv - OFFSET_MV) / MV_PER_CODE + 0.5)))

    def read_u16(self) -> int:
        code = self._code()
        return code << 4 | code >> 8

    def read_uv(self) -> int:
        return 1000 * int(OFFSET_MV + self._code() * MV_PER_CODE + 0.5)


class Timer:
    """machine.Timer; ids 0 to 3 are hardware, one object each, -1 a virtual one."""

    ONE_SHOT, PERIODIC = 0, 1
    number = -1

    def __new__(cls, number=-1) -> "Timer":
        if number >= 4:
            raise ValueError(f"Timer({number}) doesn't exist, there are only 4 hardware timers")
        for timer in WORLD.timers:
            if number >= 0 and timer.number == number:
                return timer
        timer = object.__new__(cls)
        timer.number = number
        timer.running = timer.pending = False
        WORLD.timers.append(timer)
        return timer

    def __init__(self, number=-1) -> None:
        pass

    def init(
        self, *, mode=1, callback=None, period=0xFFFFFFFF, tick_hz=1000, freq=None, hard=False
    ) -> None:  # fmt: skip
        if hard:
            raise ValueError("hard Timers are not implemented")
        clock_hz = 10000000 if self.number >= 0 else 1000000
        ticks = int(clock_hz / freq) if freq is not None else period * clock_hz // tick_hz
        if ticks == 0:
            raise ValueError("Timer period is too short for this timer")
        if mode != self.PERIODIC:
            raise NotImplementedError("the firmware uses no other mode")
        self.period_us = ticks * 1000000 // clock_hz
        self.callback = callback
        self.next_us = WORLD.us + self.period_us
        self.running = True
        self.pending = False

    def deinit(self) -> None:
        self.running = self.pending = False


class WDT:
    """machine.WDT; cannot be stopped."""

    def __init__(self, id=0, timeout=5000) -> None:  # noqa: A002 - the port's name
        if id != 0:
            raise ValueError
        if timeout <= 0:
            raise ValueError("WDT timeout too short")
        self._us = 1000 * timeout
        self.feed()

    def feed(self) -> None:
        WORLD.watchdog_due = WORLD.us + self._us


class Counter:
    """machine.Counter, on a PCNT unit."""

    RISING, FALLING = 1, 2

    def __init__(self, number, src, *, edge=1, filter_ns=0) -> None:
        if not 0 <= number < 8:
            raise ValueError("invalid id")
        self.gpio = src.gpio
        self.count = 0
        WORLD.counters.append(self)

    def value(self, value=None) -> int:
        before = self.count
        if value is not None:
            self.count = value
        return before


class UART:
    """machine.UART; a write waits when its buffer is full, which is noted in World.blocked."""

    def __init__(
        self, number, baudrate=115200, bits=8, parity=None, stop=1, *, tx=None, rx=None, rts=None,
        cts=None, txbuf=256, rxbuf=256, timeout=0, timeout_char=0, invert=0, flow=0,
    ) -> None:  # fmt: skip
        if not 0 <= number <= 2:
            raise ValueError(f"UART({number}) does not exist")
        self.sent = b""
        self.received = b""
        self._room = txbuf
        self._us_a_byte = 10000000 / baudrate
        self._done_us = 0.0  # when all that was written is out

    def any(self) -> int:
        return len(self.received)

    def read(self, count) -> bytes | None:
        data = self.received[:count]
        self.received = self.received[count:]
        return data or None

    def write(self, data) -> int:
        self._done_us = max(self._done_us, WORLD.us) + len(data) * self._us_a_byte
        if self._done_us - WORLD.us > (self._room + 1) * self._us_a_byte:
            WORLD.blocked.append(("uart", len(data)))
        self.sent += bytes(data)
        return len(data)


class NVS:
    """esp32.NVS. `stored` outlives a reset, what was not committed does not."""

    stored: dict = {}

    def __init__(self, namespace) -> None:
        if not 0 < len(namespace) <= 15:
            raise OSError(-0x1109, "ESP_ERR_NVS_INVALID_NAME")
        self._namespace = namespace
        self._fresh: dict = {}

    def _key(self, key) -> tuple:
        if len(key) > 15:
            raise OSError(-0x1109, "ESP_ERR_NVS_KEY_TOO_LONG")
        return self._namespace, key

    def set_blob(self, key, value) -> None:
        self._fresh[self._key(key)] = bytes(value)
        WORLD.flash(1000)

    def get_blob(self, key, buffer) -> int:
        if not isinstance(buffer, bytearray):
            raise TypeError("object with buffer protocol required")
        name = self._key(key)
        data = self._fresh.get(name, NVS.stored.get(name))
        if data is None:
            raise OSError(-0x1102, "ESP_ERR_NVS_NOT_FOUND")
        if len(data) > len(buffer):
            raise OSError(-0x110C, "ESP_ERR_NVS_INVALID_LENGTH")
        buffer[: len(data)] = data
        return len(data)

    def commit(self) -> None:
        NVS.stored.update(self._fresh)
        self._fresh = {}


class Bus:
    """machine.SPI or machine.I2C, opened and not used."""

    def __init__(self, number, **settings: object) -> None:
        self.settings = settings


SPI = I2C = Bus


def unique_id() -> bytes:
    return b"\x24\x0a\xc4\x01\x02\x03"


def reset_cause() -> int:
    return 3
