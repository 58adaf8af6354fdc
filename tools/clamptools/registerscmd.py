"""Prints the Modbus register map, generated from the table that the gateway serves it from."""

from __future__ import annotations

import argparse
import sys

EXAMPLE = """
clampwork registers --format md
clampwork registers --format csv > registers.csv
"""


def configure(parser: argparse.ArgumentParser) -> None:
    from clampgateway.registers import FORMATS

    parser.add_argument(
        "--format",
        choices=FORMATS,
        default=FORMATS[0],
        help=f"Markdown, a table for sheets, or JSON (default {FORMATS[0]})",
    )


def run(args: argparse.Namespace) -> int:
    from clampgateway.registers import render

    sys.stdout.write(render(args.format))
    return 0
