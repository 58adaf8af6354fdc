"""[[modbus_meter]]: one line, and the meters on it.

Owns the keys of the section and what can be told wrong about them before anything is opened.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, PlainValidator, field_validator, model_validator

from clampgateway.config import Settings as BaseSettings
from clampgateway.config import Wrong
from clampgateway.sources.modbus_meter.bus import Line
from clampgateway.sources.modbus_meter.plan import Plan, too_long
from clampgateway.sources.modbus_meter.profile import (
    Percent,
    Profile,
    load,
    period_of,
    refuse_twins,
)

MODBUS_TCP = 502


class MeterSettings(BaseSettings):
    """[[modbus_meter.meter]]: one meter."""

    id: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")] = Field(
        description="device id in topics: 1 to 64 letters, digits, _ . -, the first no sign"
    )
    unit: Annotated[int, Field(ge=0, le=255)] = Field(
        default=1, description="Modbus address of the meter"
    )
    profile: Annotated[Profile, PlainValidator(load)] = Field(
        description="which meter it is: the name of a profile, or a path to one of your own"
    )
    name: Annotated[str, Field(max_length=32)] = ""
    period_s: float | None = Field(default=None, description="seconds from reading to reading")
    uncertainty_pct: dict[str, Percent] = Field(
        default={}, description="of a reading, by channel, where you know better than the profile"
    )

    @field_validator("period_s")
    @classmethod
    def _period(cls, seconds: float | None) -> float | None:
        return None if seconds is None else period_of(seconds)

    @model_validator(mode="after")
    def _describable(self) -> MeterSettings:
        channels = [channel.key for channel in self.profile.channel]
        unknown = sorted(set(self.uncertainty_pct) - set(channels))
        if unknown:
            raise Wrong(
                f"uncertainty_pct: {self.profile.name} has no channel {', '.join(unknown)}",
                f"it has {', '.join(channels)}",
            )
        channel = too_long(self.plan)
        if channel:
            raise Wrong(f"channel {channel} of the profile has too many features for one message")
        return self

    @property
    def seconds(self) -> float:
        """From reading to reading."""
        return self.period_s or self.profile.period_s

    @property
    def plan(self) -> Plan:
        """How it is read."""
        return Plan(self.profile, self.seconds, self.uncertainty_pct)


class Settings(BaseSettings):
    """[[modbus_meter]]: meters on a serial port, or behind a host."""

    host: Annotated[str, Field(min_length=1)] | None = Field(
        default=None, description="name or address of a meter or converter that speaks Modbus TCP"
    )
    port: str | int = Field(
        default=MODBUS_TCP, description="path of a serial port; with host the TCP port"
    )
    baud: Annotated[int, Field(ge=300, le=921_600)] = 9600
    parity: Literal["none", "even", "odd"] = "none"
    stop_bits: Literal[1, 2] = 1
    timeout_s: Annotated[float, Field(ge=0.05, le=10)] = 1.0
    retries: Annotated[int, Field(ge=0, le=5)] = 1
    meter: tuple[MeterSettings, ...] = Field(
        description="give each meter a [[modbus_meter.meter]]"
    )

    @model_validator(mode="after")
    def _consistent(self) -> Settings:
        if self.host is None and not str(self.port).startswith("/"):
            raise Wrong(
                "has no host, and no port that is the absolute path of a serial port",
                'for example port = "/dev/serial/by-id/usb-FTDI_...", or host = "192.168.1.40"',
            )
        if self.host is not None and not (isinstance(self.port, int) and 1 <= self.port <= 65535):
            raise Wrong(f"port is {self.port!r}, with a host it is a TCP port", "1 to 65535")
        if not self.meter:
            raise Wrong("has no meter", "give each meter a [[modbus_meter.meter]]")
        refuse_twins([meter.id for meter in self.meter], "meter id")
        refuse_twins([str(meter.unit) for meter in self.meter], "unit")
        if self.host is None:
            self._check_line()
        return self

    def _check_line(self) -> None:
        for meter in self.meter:
            if not 1 <= meter.unit <= 247:
                raise Wrong(f"unit of {meter.id} is {meter.unit}", "on a serial line 1 to 247")
        line = self.line
        share = sum(
            meter.plan.line_s(line.baud, line.bits) / meter.seconds for meter in self.meter
        )
        if share > 1:
            raise Wrong(
                f"the meters need {share:.0%} of the line's time at {line.baud} baud",
                "raise period_s or baud",
            )

    @property
    def line(self) -> Line:
        """Where the meters are."""
        return Line(
            self.host or "",
            self.port,
            self.baud,
            self.parity,
            self.stop_bits,
            self.timeout_s,
            self.retries,
        )
