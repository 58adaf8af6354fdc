"""The Modbus register map: its one table, the documents made of it, frozen images, and the PDU.

`render(fmt)` gives the map as "md", "csv" or "json"; FORMATS names them.
"""

from clampgateway.registers.render import RENDERERS, render

FORMATS = tuple(RENDERERS)

__all__ = ["FORMATS", "render"]
