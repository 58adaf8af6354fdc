"""Runs the kernel bench from the command line: cycles per sample of every kernel in every form."""

from __future__ import annotations

import argparse

EXAMPLE = """
clampwork bench kernels
clampwork bench kernels --json
PICO_UF2=firmware.uf2 clampwork bench kernels
"""


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--json", action="store_true", help="one JSON object on the last line instead of a table"
    )


def run(args: argparse.Namespace) -> int:
    """Returns 1 if a form is not exact or misses its limit."""
    from clamptools import kernelbench

    return 0 if kernelbench.run(json=args.json)["met"] else 1
