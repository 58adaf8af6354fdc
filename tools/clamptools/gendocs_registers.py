"""docs/registers.md: the register map, as `clampwork registers --format md` prints it."""

from clampgateway import registers


def render() -> str:
    """The whole document."""
    return registers.render("md")
