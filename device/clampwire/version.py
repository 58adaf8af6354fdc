"""The version of the whole distribution, told by devices and gateway alike; stated only here."""

__version__ = "0.1.0"
