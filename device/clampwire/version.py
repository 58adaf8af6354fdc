"""The version of the whole distribution, told by devices and gateway alike. It is stated nowhere else."""

__version__ = "0.1.0"
