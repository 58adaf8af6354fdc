"""The gateway's own sections, and the types of keys that sources and bridges share.

Owns [gateway], [store] and [api]. The settings of each source and bridge stand beside its code
and derive from `Settings`. A relative path is taken from the folder of the file; a section that
has `bind` listens, and is on loopback until it says otherwise.
"""

from __future__ import annotations

import ipaddress
import stat
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationInfo

from clampgateway.config.problems import Wrong, shown

LOOPBACK = "127.0.0.1"


class Settings(BaseModel):
    """What every section derives from: an unknown key is an error, and "5" is not a number."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


def _bind_address(text: str) -> str:
    if text == "localhost":
        return LOOPBACK
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        raise Wrong(
            f"is {shown(text)}, must be an IP address of this machine",
            f'"{LOOPBACK}" for this machine alone, "0.0.0.0" for every network',
        ) from None


def _absolute(path: Path, info: ValidationInfo) -> Path:
    folder: Path = (info.context or {}).get("folder", Path())
    return (folder / path.expanduser()).absolute()


def _readable_file(path: Path, info: ValidationInfo) -> Path:
    full = _absolute(path, info)
    try:
        with full.open("rb") as file:
            file.read(1)
    except OSError as error:
        raise Wrong(f"cannot read {shown(full)}: {error.strerror}") from None
    return full


def _secret_file(path: Path, info: ValidationInfo) -> Path:
    full = _readable_file(path, info)
    mode = stat.S_IMODE(full.stat().st_mode)
    if mode & 0o077:
        raise Wrong(
            f"{shown(full)} has mode {mode:04o}: others on this machine can use it",
            f"chmod 600 {full}",
        )
    return full


Port = Annotated[int, Field(ge=1, le=65535)]
ListenPort = Annotated[int, Field(ge=0, le=65535)]  # 0: a free port, chosen at start
BindAddress = Annotated[str, AfterValidator(_bind_address)]
Seconds = Annotated[float, Field(gt=0, le=86400)]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$")]
FilePath = Annotated[Path, AfterValidator(_absolute)]
ReadableFile = Annotated[Path, AfterValidator(_readable_file)]
SecretFile = Annotated[Path, AfterValidator(_secret_file)]

_NAME_RULE = "1 to 64 letters, digits, - and _, the first a letter or a digit"


class GatewaySettings(Settings):
    id: Name | None = Field(default=None, description=_NAME_RULE)
    site: Name = Field(default="default", description=_NAME_RULE)
    state_dir: FilePath | None = Field(
        default=None, description="folder of the store and the token"
    )
    trust_clock: bool = Field(
        default=False,
        description="take the system's time although nothing says that it is right: where somebody"
        " sets it by hand",
    )
    log_level: Literal["debug", "info", "warning", "error"] = "info"


class StoreSettings(Settings):
    commit_interval_s: Annotated[float, Field(ge=0.01, le=1)] = 0.25
    quota_mb: Annotated[int | None, Field(ge=16, le=1_000_000)] = Field(
        default=None,
        description="most that the store's file may take; half of its volume, at most 8 GB, unless"
        " given. Then the oldest goes",
    )
    retention_h: Annotated[int, Field(ge=1, le=87_600)] = Field(
        default=168,
        description="hours of running for which records are kept after all bridges delivered them",
    )


class ApiSettings(Settings):
    bind: BindAddress = LOOPBACK
    port: ListenPort = 8620
    hosts: tuple[str, ...] = Field(
        default=(),
        description="further names by which the API may be called, beside loopback and bind",
    )


CORE: dict[str, type[Settings]] = {
    "gateway": GatewaySettings,
    "store": StoreSettings,
    "api": ApiSettings,
}
