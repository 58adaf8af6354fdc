"""The command line `clampwork` and the tools behind it."""
