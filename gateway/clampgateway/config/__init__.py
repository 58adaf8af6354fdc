"""The configuration of the gateway: what sections may say, and one file read as a whole."""

from clampgateway.config.load import Config, Part, Section, default_state_dir, load, load_model
from clampgateway.config.problems import ConfigError, Problem, Wrong
from clampgateway.config.settings import (
    LOOPBACK,
    ApiSettings,
    BindAddress,
    GatewaySettings,
    ListenPort,
    Name,
    Port,
    ReadableFile,
    Seconds,
    SecretFile,
    Settings,
    StoreSettings,
)

__all__ = [
    "LOOPBACK",
    "ApiSettings",
    "BindAddress",
    "Config",
    "ConfigError",
    "GatewaySettings",
    "ListenPort",
    "Name",
    "Part",
    "Port",
    "Problem",
    "ReadableFile",
    "Seconds",
    "SecretFile",
    "Section",
    "Settings",
    "StoreSettings",
    "Wrong",
    "default_state_dir",
    "load",
    "load_model",
]
