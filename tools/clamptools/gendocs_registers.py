"""docs/registers.md: the register map, as `clampwork registers --format md` prints it."""

from clampgateway.registers import render


def document() -> str:
    """The whole document."""
    return render("md")
