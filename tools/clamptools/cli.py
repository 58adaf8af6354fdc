"""The command line `clampwork`: a table of commands, each in a module of its own.

Owns the table, the help, the exit codes and what a user sees of an error. A command's module is
imported when the command is named, so that the base install runs without the extras and starts
fast. Such a module has

- a docstring whose first paragraph is the description,
- `EXAMPLE`, one or more lines shown by --help,
- `configure(parser)`, which adds its arguments, and
- `run(args) -> int`, which returns the exit code: 0 done, 1 what it checked is not so, 2 the
  user's mistake (raise `clamptools.errors.UserError` for it).
"""

from __future__ import annotations

import argparse
import difflib
import importlib
import os
import sys
import textwrap
from collections.abc import Sequence
from types import ModuleType
from typing import NamedTuple

from clamptools.errors import UserError
from clampwire.version import __version__

INTERRUPTED = 130
COLUMNS = 79
PROGRAM = "clampwork"


class Command(NamedTuple):
    """One line of the table: a line of help, the module, and the extra it needs beyond base."""

    help: str
    module: str
    extra: str = ""


COMMANDS = {
    "bench": Command("measure a part and print the numbers", "clamptools.bench", "tools"),
    "demo": Command(
        "simulated machines, gateway and broker, with a live table", "clamptools.demo", "tools"
    ),
    "device": Command("remove a device from a running gateway", "clamptools.devicecmd"),
    "gateway": Command("run the gateway, check its configuration", "clamptools.gatewaycmd"),
    "ledger": Command(
        "how complete the records of each device and day are", "clamptools.ledgercmd", "tools"
    ),
    "prepare": Command(
        "divide a blank board's flash into files and spool", "clamptools.prepare", "tools"
    ),
    "refine": Command("a board's own ADC curve instead of its type's", "clamptools.refine"),
    "registers": Command("the Modbus register map as md, csv or json", "clamptools.registerscmd"),
    "replay": Command(
        "play a recording through the firmware's own chain", "clamptools.replay", "tools"
    ),
    "simulate": Command(
        "a device without its gateway for hours, in seconds", "clamptools.simulate"
    ),
    "verify": Command(
        "what a subscriber kept against what devices made", "clamptools.verify", "tools"
    ),
    "watch": Command("live table of a running gateway, over MQTT", "clamptools.watch", "tools"),
    "why": Command("why a machine is in its state, from its device", "clamptools.why"),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command and returns the exit code of the process."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        code = _dispatch(arguments)
        sys.stdout.flush()
        return code
    except UserError as error:
        return _complain(arguments, str(error))
    except OSError as error:
        if isinstance(error, BrokenPipeError) and error.filename is None:
            # The reader of our output went away (`clampwork registers | head`): nothing is wrong,
            # but the interpreter would complain when it flushes at its end.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 0
        if error.filename is None:
            raise
        return _complain(arguments, f"{error.filename}: {error.strerror}")
    except KeyboardInterrupt:
        return INTERRUPTED


def _dispatch(arguments: list[str]) -> int:
    parser = _top_parser()
    if not arguments:
        parser.print_help(sys.stderr)
        return 2
    name = arguments[0]
    if name.startswith("-"):
        parser.parse_args(arguments)  # --help and --version leave here
        parser.error("name a command after the options")
    if name not in COMMANDS:
        near = difflib.get_close_matches(name, COMMANDS, n=1)
        hint = f"did you mean `{near[0]}`?" if near else "commands: " + ", ".join(COMMANDS)
        raise UserError(f"there is no command {name!r}: {hint}")
    command = COMMANDS[name]
    module = _load(name, command)
    args = command_parser(name, module).parse_args(arguments[1:])
    return module.run(args)


def command_parser(name: str, module: ModuleType) -> argparse.ArgumentParser:
    """The parser of one command, filled by its module."""
    parser = new_parser(f"{PROGRAM} {name}", (module.__doc__ or "").strip(), module.EXAMPLE)
    module.configure(parser)
    return parser


def new_parser(program: str, about: str, example: str) -> argparse.ArgumentParser:
    """A parser in the house's manner: the first paragraph of `about`, and an example."""
    return argparse.ArgumentParser(
        prog=program,
        description=textwrap.fill(about.partition("\n\n")[0].replace("\n", " "), COLUMNS),
        epilog=_example(example),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )


def add_action(actions, name: str, about: str, example: str) -> argparse.ArgumentParser:  # noqa: ANN001 - argparse keeps the type of its subparsers private
    """A parser for `clampwork COMMAND ACTION`, made by what `add_subparsers` returned."""
    return actions.add_parser(
        name,
        help=about,
        description=about[0].upper() + about[1:] + ".",
        epilog=_example(example),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )


def _example(text: str) -> str:
    return "example:\n" + "\n".join("  " + line for line in text.strip().splitlines())


def _top_parser() -> argparse.ArgumentParser:
    width = max(map(len, COMMANDS))
    lines = "\n".join(f"  {name:{width}}  {command.help}" for name, command in COMMANDS.items())
    parser = argparse.ArgumentParser(
        prog=PROGRAM,
        usage=f"{PROGRAM} [--help] [--version] COMMAND ...",
        description="Turns an old machine into one that can be measured.",
        epilog=f"commands:\n{lines}\n\nexample:\n  {PROGRAM} demo --for 30\n\n"
        f"`{PROGRAM} COMMAND --help` tells more about each.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"{PROGRAM} {__version__}")
    return parser


def _load(name: str, command: Command) -> ModuleType:
    """Imports a command's module. Raises UserError if a package of an extra is missing."""
    try:
        return importlib.import_module(command.module)
    except ModuleNotFoundError as error:
        missing = error.name or ""
        if missing == command.module:
            raise UserError(f"`{name}` is not part of this version ({__version__})") from error
        if not command.extra or missing.partition(".")[0].startswith("clamp"):
            raise
        raise UserError(
            f"`{name}` needs the package {missing}, which is not installed: "
            f"pip install 'clampwork[{command.extra}]'"
        ) from error


def _complain(arguments: list[str], text: str) -> int:
    command = arguments[0] if arguments and arguments[0] in COMMANDS else ""
    print(f"{PROGRAM} {command}".rstrip() + f": {text}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main())
