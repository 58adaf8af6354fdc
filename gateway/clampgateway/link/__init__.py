"""Links to devices: one session a link, and all of them together. Pure and synchronous."""

from clampgateway.link.commands import Answer, LinkError
from clampgateway.link.links import Links
from clampgateway.link.session import LinkSession

__all__ = ["Answer", "LinkError", "LinkSession", "Links"]
