"""Southbound: where devices come from. One file a kind of link, one line here.

A source class has `Settings` (its section of the configuration), `__init__(settings, links,
committer, clocks)`, `async run()`, which never ends by itself, and `stats()`.
"""

SOURCES = {
    "modbus_meter": "clampgateway.sources.modbus_meter:ModbusMeterSource",
    "serial": "clampgateway.sources.serial:SerialSource",
    "tcp": "clampgateway.sources.tcp:TcpSource",
}
