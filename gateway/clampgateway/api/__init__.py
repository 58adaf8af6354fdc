"""The HTTP API on loopback: one control path for the command line, monitors and the dashboard."""

from clampgateway.api.access import AccessError, own_token
from clampgateway.api.problem import Refusals, hosts_of
from clampgateway.api.routes import ApiContext, PortNotFoundError, create_app
from clampgateway.api.server import ApiServer

__all__ = [
    "AccessError",
    "ApiContext",
    "ApiServer",
    "PortNotFoundError",
    "Refusals",
    "create_app",
    "hosts_of",
    "own_token",
]
