"""What a meter says where: a TOML file a type of meter, and the models that hold it to its form.

Owns the keys of a profile, their limits, and finding a profile by name or path. How registers are
read and become numbers is `plan.py`. An address stands in a shipped profile only if a document
was read that says so; each names it (`# Ref:`).
"""

from __future__ import annotations

import math
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, ValidationInfo, field_validator, model_validator

from clampgateway.config import ConfigError, Settings, Wrong, load_model
from clampwire import messages
from clampwire.messages import CHANNELS_MAX, WINDOW_MS

FOLDER = Path(__file__).parent / "profiles"
# A record's interval is told in windows, in one byte; its values' length, too.
PERIOD_STEP_S = WINDOW_MS / 1000
PERIOD_MOST_S = 255 * PERIOD_STEP_S
VALUE_BYTES_MAX = 255
FEATURES_MAX = 40
# Ref: Modbus Application Protocol V1.1b3, 6.3 and 6.4: at most 125 registers a request.
REGISTERS_MAX = 125
# Registers a type takes, and its letter in struct.
TYPES = {
    "int16": (1, "h"),
    "uint16": (1, "H"),
    "int32": (2, "i"),
    "uint32": (2, "I"),
    "float32": (2, "f"),
    "int64": (4, "q"),
    "uint64": (4, "Q"),
    "float64": (4, "d"),
}
# The type of a number in a record. One wider than the meter's, so that each of its raw values is
# a value, but for the two of 32 bits, where one raw value means "not available".
_CODES = {"int16": "i", "uint16": "I", "int32": "i", "uint32": "I", "int64": "i", "uint64": "I"}

Key = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,15}$")]
_KEY_RULE = "1 to 16 small letters, digits and _, the first a letter"
Address = Annotated[int, Field(ge=0, le=65535)]
WordOrder = Literal["ABCD", "CDAB", "BADC", "DCBA"]
TypeName = Literal[
    "int16", "uint16", "int32", "uint32", "float32", "int64", "uint64", "float64"
]  # fmt: skip
Function = Literal[3, 4]
Percent = Annotated[float, Field(gt=0, le=100)]


def period_of(seconds: float) -> float:
    """A period that a record can tell. Raises Wrong for another."""
    steps = seconds / PERIOD_STEP_S
    if not 1 <= round(steps) <= 255 or abs(steps - round(steps)) > 1e-6:
        raise Wrong(
            f"is {seconds:g}, must be a multiple of {PERIOD_STEP_S:g} from {PERIOD_STEP_S:g} to"
            f" {PERIOD_MOST_S:g}",
            "for example period_s = 1.0",
        )
    return seconds


class Quantity(Settings):
    """One number that a meter tells: where it stands, and the feature that it becomes."""

    key: Key = Field(description=_KEY_RULE)
    unit: Annotated[str, Field(max_length=8)] = ""
    address: Address = Field(
        description="of the first register, as in the request, from 0: 30073 is 72"
    )
    function: Function | None = None
    type: TypeName | None = None
    word_order: WordOrder | None = None
    scale: float = Field(default=1.0, description="value = raw * scale, in unit")
    range: tuple[float, float] | None = Field(
        default=None,
        description="[least, most] in unit; what lies outside is a fault of the meter",
    )
    missing: tuple[int, ...] = Field(
        default=(), description="raw values of an integer by which the meter says: no value"
    )

    @field_validator("scale")
    @classmethod
    def _scales(cls, scale: float) -> float:
        if not scale:
            raise Wrong("is 0", "value = raw * scale: the unit of one raw step")
        return scale

    @field_validator("range")
    @classmethod
    def _in_order(cls, span: tuple[float, float] | None) -> tuple[float, float] | None:
        if span is not None and span[0] >= span[1]:
            raise Wrong(f"is {list(span)}", "the least value comes first: [least, most]")
        return span


class ChannelProfile(Settings):
    """A channel of the device that the meter becomes."""

    key: Key = Field(description=_KEY_RULE)
    quantity: Key = Field(description="current, voltage, power, energy, or another word")
    unit: Annotated[str, Field(max_length=8)] = ""
    full_scale: float | None = None
    uncertainty_pct: Percent | None = Field(
        default=None, description="of a reading, from the data sheet; left out: not known"
    )
    features: tuple[Quantity, ...]

    @field_validator("features")
    @classmethod
    def _unique(cls, features: tuple[Quantity, ...]) -> tuple[Quantity, ...]:
        refuse_wrong_count(len(features), FEATURES_MAX, "features")
        refuse_twins([feature.key for feature in features], "feature")
        return features


class Profile(Settings):
    """One type of meter. What a feature leaves out is taken from here."""

    name: Annotated[str, Field(min_length=1, max_length=32)] = Field(
        description="maker and type, at most 32 characters"
    )
    period_s: float = 1.0
    function: Function = 4
    type: TypeName = "float32"
    word_order: WordOrder = "ABCD"
    max_registers: Annotated[int, Field(ge=1, le=REGISTERS_MAX)] = REGISTERS_MAX
    max_gap: Annotated[int, Field(ge=0, le=REGISTERS_MAX)] = Field(
        default=0, description="registers without a name that may be read along"
    )
    channel: tuple[ChannelProfile, ...]

    @field_validator("period_s")
    @classmethod
    def _period(cls, seconds: float) -> float:
        return period_of(seconds)

    @field_validator("channel")
    @classmethod
    def _unique(cls, channels: tuple[ChannelProfile, ...]) -> tuple[ChannelProfile, ...]:
        refuse_wrong_count(len(channels), CHANNELS_MAX, "channels")
        refuse_twins([channel.key for channel in channels], "channel")
        return channels

    @model_validator(mode="after")
    def _fits(self) -> Profile:
        size = 0
        for channel in self.channel:
            for feature in channel.features:
                where = f"channel {channel.key}, feature {feature.key}: "
                kind = feature.type or self.type
                words = TYPES[kind][0]
                if words > self.max_registers:
                    raise Wrong(
                        f"{where}{kind} takes {words} registers, max_registers is"
                        f" {self.max_registers}"
                    )
                if feature.address + words > 0x10000:
                    raise Wrong(f"{where}address {feature.address} is too high for {kind}")
                if feature.missing and kind.startswith("float"):
                    raise Wrong(f"{where}missing is for integers", "a float says NaN")
                if not kind.startswith("float"):
                    try:
                        decimal_scale(feature.scale)
                    except ValueError as error:
                        raise Wrong(f"{where}scale {error}") from None
                size += 4
        if size > VALUE_BYTES_MAX:
            raise Wrong(
                f"{size // 4} features are more than a record holds",
                f"at most {VALUE_BYTES_MAX // 4}",
            )
        return self


def refuse_wrong_count(count: int, most: int, what: str) -> None:
    """Raises Wrong unless there are 1 to `most`."""
    if not 1 <= count <= most:
        raise Wrong(f"has {count} {what}, must be 1 to {most}")


def refuse_twins(keys: list[str], what: str) -> None:
    """Raises Wrong if a key is there twice."""
    twins = sorted({key for key in keys if keys.count(key) > 1})
    if twins:
        raise Wrong(f"has {what} {', '.join(twins)} more than once", f"give each {what} its key")


def decimal_scale(scale: float) -> tuple[int, int]:
    """(mult, exp) with scale = mult * 10**exp, exactly as it is written.

    Raises ValueError for one that a Describe cannot tell.
    """
    sign, digits, exp = Decimal(repr(scale)).normalize().as_tuple()
    mult = int("".join(map(str, digits)))
    if sign or not isinstance(exp, int) or mult > 0xFFFF or not -128 <= exp <= 127:
        raise ValueError(
            f"is {scale!r}, must be a decimal above 0 of at most 4 digits where the type is an"
            " integer"
        )
    return mult, exp


def wire_code(kind: str) -> int:
    """The code of a type's numbers in Describe."""
    return ord(_CODES.get(kind, "f"))


def names() -> list[str]:
    """The profiles that come with the gateway."""
    return sorted(path.stem for path in FOLDER.glob("*.toml"))


def find(name: str, folder: Path) -> Path:
    """The file of a profile: one that comes with the gateway, or a path from `folder`."""
    if name.endswith(".toml"):
        return (folder / Path(name).expanduser()).absolute()
    return FOLDER / f"{name}.toml"


def load(value: object, info: ValidationInfo) -> Profile:
    """For a settings model: the profile that a name or path means. Raises Wrong."""
    if not isinstance(value, str) or not value:
        raise Wrong("must be text in quotes", f"a path to a .toml, or one of {', '.join(names())}")
    if not value.endswith(".toml") and value not in names():
        raise Wrong(
            f'is "{value}", which does not come with the gateway',
            f"there are {', '.join(names())}; a file of your own ends in .toml",
        )
    file = find(value, (info.context or {}).get("folder", Path()))
    try:
        return load_model(file, Profile)
    except ConfigError as error:
        told = "; ".join(str(problem) for problem in error.problems[:3])
        more = len(error.problems) - 3
        raise Wrong(f"{file}: {told}" + (f"; and {more} more" if more > 0 else "")) from None


def nan_if(value: float | None) -> float:
    """What Describe says where nothing is known."""
    return math.nan if value is None else value


assert set(TYPES) == set(TypeName.__args__), "each type has its size"
assert messages.PAYLOAD_MAX >= VALUE_BYTES_MAX
