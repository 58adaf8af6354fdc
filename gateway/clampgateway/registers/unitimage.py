"""What one unit answers from: frozen registers, discrete inputs, coils and identification.

An image is immutable and swapped as a whole, so no request sees half of a change; only the age
moves, which is counted at the moment of the request and decides whether values are withheld.
Knows neither the protocol (`pdu.py`) nor how the registers came to be (`image.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from clampgateway.registers import order, schema
from clampgateway.registers.bits import inputs_of
from clampgateway.registers.schema import AGE_AT, STRIDE

NO_AGE = 0xFFFFFFFF
_NEVER = float("-inf")


class Style(NamedTuple):
    """How all units are shown. `mirror`: function 03 reads what 04 reads, not the commands alone.

    `stale_after_s`: age above which values are withheld. `mono`: the monotonic clock, in seconds.
    """

    stale_after_s: float
    mono: Callable[[], float]
    word_order: str = order.ABCD
    mirror: bool = True


class UnitImage:
    """The registers of one unit, frozen; only the age moves.

    Args:
        fresh: Registers as bytes, answered while the age is at most `style.stale_after_s`.
        stale: The same without values, answered from then on.
        zero_s: Monotonic time of age zero; None if there never was a record.
        blocks: How many blocks of STRIDE, from address 0, have their age at AGE_AT.
        style: See Style; the bytes are in its order already.
        coils: Coil N in bit N.
        identity: Objects of function 43/14.
    """

    __slots__ = (
        "_ages_end", "_coils", "_fresh", "_fresh_inputs", "_mirror", "_mono", "_pack_age",
        "_stale", "_stale_after_s", "_stale_inputs", "_zero_s", "identity", "size",
    )  # fmt: skip

    def __init__(
        self,
        fresh: bytes,
        stale: bytes,
        zero_s: float | None,
        blocks: int,
        style: Style,
        coils: int = 0,
        identity: Mapping[int, str] | None = None,
    ) -> None:
        self._fresh = fresh
        self._stale = stale
        self._zero_s = _NEVER if zero_s is None else zero_s
        self._stale_after_s = style.stale_after_s
        self._ages_end = blocks * STRIDE
        self._mono = style.mono
        self._mirror = style.mirror
        self._pack_age = order.packer(style.word_order)
        self._coils = coils
        # Made when they are asked for: most masters read registers only.
        self._fresh_inputs: tuple[int, int] | None = None
        self._stale_inputs: tuple[int, int] | None = None
        self.identity = identity or {}
        self.size = len(fresh) // 2

    @property
    def age_ms(self) -> int:
        """Age of the record in ms, now; NO_AGE without one."""
        return _age_ms(self._mono() - self._zero_s)

    def read(self, first: int, count: int) -> bytes | None:
        """Registers `first` to `first + count - 1` as bytes; None if some do not exist.

        `count` is at most STRIDE: then no more than one age lies in the range.
        """
        end = first + count
        if end > self.size:
            return None
        age_s = self._mono() - self._zero_s
        words = self._fresh if age_s <= self._stale_after_s else self._stale
        behind = (first - AGE_AT) % STRIDE
        if (behind > 1 and behind + count <= STRIDE) or first >= self._ages_end:
            return words[2 * first : 2 * end]
        age = self._pack_age(_age_ms(age_s))
        if behind < 2:  # the range begins within the age
            own = age[2 * behind : 2 * (behind + count)]
            return own + words[2 * first + len(own) : 2 * end]
        at = first - behind + STRIDE
        if at >= self._ages_end:
            return words[2 * first : 2 * end]
        # It ends within the age, or behind it.
        return words[2 * first : 2 * at] + age[: 2 * (end - at)] + words[2 * at + 4 : 2 * end]

    def read_holding(self, first: int, count: int) -> bytes | None:
        """The same for function 03: the whole map, or the commands alone if it is not mirrored."""
        commands = first >= schema.COMMANDS_AT and first + count <= schema.COMMANDS_END
        return self.read(first, count) if self._mirror or commands else None

    def read_inputs(self, first: int, count: int) -> bytes | None:
        """Discrete inputs, eight a byte, the first in the lowest bit; None as above."""
        if self._mono() - self._zero_s <= self._stale_after_s:
            if self._fresh_inputs is None:
                self._fresh_inputs = inputs_of(self._fresh)
            inputs, size = self._fresh_inputs
        else:
            if self._stale_inputs is None:
                self._stale_inputs = inputs_of(self._stale)
            inputs, size = self._stale_inputs
        return _bits(inputs, size, first, count)

    def read_coils(self, first: int, count: int) -> bytes | None:
        """The same for coils."""
        return _bits(self._coils, len(schema.COILS), first, count)


def _age_ms(age_s: float) -> int:
    age_ms = age_s * 1000
    if 0 <= age_ms < NO_AGE:
        return int(age_ms)
    if age_ms < 0:
        return 0
    return NO_AGE if age_s == -_NEVER else NO_AGE - 1


def _bits(bits: int, size: int, first: int, count: int) -> bytes | None:
    if first + count > size:
        return None
    wanted = bits >> first & (1 << count) - 1
    return wanted.to_bytes((count + 7) // 8, "little")
