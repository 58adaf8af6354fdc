"""An ADS1115 and a MCP3208 by their bits, from the sources that the drivers name."""

from fakes_bus import FakeClock

RATES = (8, 16, 32, 64, 128, 250, 475, 860)


class FakeAds1115:
    """I2C. `volts` of the four inputs; a conversion takes 1 / rate of the fake clock."""

    def __init__(self, clock: FakeClock) -> None:
        self.clock = clock
        self.volts = [0.0, 0.0, 0.0, 0.0]
        self.config = 0x0583
        self.result = 0
        self.done_ns = 0
        self.conversions = 0
        self.stuck = False

    def write(self, register: int, data) -> None:
        assert register == 0x01, hex(register)
        assert len(data) == 2
        value = data[0] << 8 | data[1]
        self.config = value & 0x7FFF
        if value & 0x8000:
            assert self.clock.ns >= self.done_ns, "a conversion is in progress"
            self.conversions += 1
            self.done_ns = self.clock.ns + 1000000000 // RATES[value >> 5 & 7]
            self.result = self._code(value)

    def _code(self, value: int) -> int:
        mux = value >> 12 & 7
        if mux >= 4:
            volts = self.volts[mux - 4]
        else:
            plus, minus = ((0, 1), (0, 3), (1, 3), (2, 3))[mux]
            volts = self.volts[plus] - self.volts[minus]
        scale = (6.144, 4.096, 2.048, 1.024, 0.512, 0.256, 0.256, 0.256)[value >> 9 & 7]
        code = int(volts / scale * 32768 + (0.5 if volts >= 0 else -0.5))
        return max(-32768, min(32767, code)) & 0xFFFF

    def read(self, register: int, buf, ns: int) -> None:
        assert len(buf) == 2
        if register == 0x01:
            value = self.config
            if ns >= self.done_ns and not self.stuck:
                value |= 0x8000
        else:
            assert register == 0x00, hex(register)
            assert ns >= self.done_ns, "the old result"
            value = self.result
        buf[0], buf[1] = value >> 8, value & 0xFF


class FakeMcp3208:
    """SPI, bit by bit: what comes out at each clock follows from what went in before."""

    def __init__(self) -> None:
        self.codes = [0, 0, 0, 0, 0, 0, 0, 0]
        self.exchanges = 0

    def deselect(self, ns: int) -> None:
        pass

    def exchange(self, out, into) -> None:
        self.exchanges += 1
        bits_in = out[0] << 16 | out[1] << 8 | out[2]
        bits_out = 0
        since = -1  # clocks since the start bit
        single = code = 0
        for clock in range(24):
            bit = bits_in >> (23 - clock) & 1
            if since < 0:
                level = 1  # high impedance, pulled up
                if bit:
                    since = 0
            else:
                since += 1
                level = 1
                if since == 1:
                    single = bit
                elif since <= 4:
                    code = code << 1 | bit
                elif since == 6:
                    level = 0  # the null bit
                elif 7 <= since <= 18:
                    level = self._value(single, code) >> (18 - since) & 1
                elif since > 18:  # the same again, low bit first, from B1 on
                    level = self._value(single, code) >> (since - 18) & 1
            bits_out = bits_out << 1 | level
        into[0], into[1], into[2] = bits_out >> 16, bits_out >> 8 & 0xFF, bits_out & 0xFF

    def _value(self, single: int, code: int) -> int:
        if single:
            return self.codes[code]
        return max(0, self.codes[code] - self.codes[code ^ 1])
