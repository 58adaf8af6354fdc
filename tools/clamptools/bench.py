"""Measures a part of Clampwork and prints the numbers.

Owns the table of what can be measured; each is a module of its own, as a command is.
"""

from __future__ import annotations

import argparse
import importlib

from clamptools.cli import add_action

EXAMPLE = """
clampwork bench gateway --json
clampwork bench kernels --json
clampwork bench modbus --json
clampwork bench states --json
clampwork bench store --json
"""
# Name, line of help, module.
BENCHES = (
    ("gateway", "a whole gateway, and what a record costs", "clamptools.gatewaybench"),
    ("kernels", "cycles per sample of the firmware's kernels", "clamptools.kernelcmd"),
    ("modbus", "the Modbus server against libmodbus and pymodbus", "clamptools.modbusbench"),
    ("mqtt", "the gateway's MQTT client against others", "clamptools.mqttbench"),
    ("store", "acknowledgement, memory and writes under many devices", "clamptools.storebench"),
    ("states", "the learned states against truth", "clamptools.statebench"),
)


def configure(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="bench", required=True, metavar="WHAT")
    for name, about, target in BENCHES:
        module = importlib.import_module(target)
        action = add_action(actions, name, about, module.EXAMPLE)
        module.configure(action)
        action.set_defaults(run_bench=module.run)


def run(args: argparse.Namespace) -> int:
    return args.run_bench(args)
