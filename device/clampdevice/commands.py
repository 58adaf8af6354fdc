"""Commands a gateway may give: a table of names, each a function of its arguments.

Arguments and answers are JSON objects. A command that is unknown or malformed is answered with a
status and a sentence; it never raises out of the link.
"""

import json

from clampwire.messages import ANSWER_STATUS, code_of

OK = code_of(ANSWER_STATUS, "ok")
UNKNOWN = code_of(ANSWER_STATUS, "unknown_command")
BAD = code_of(ANSWER_STATUS, "bad_arguments")
FAILED = code_of(ANSWER_STATUS, "failed")


class BadArguments(ValueError):
    """Arguments that a command cannot take; the text says which and what it expects."""


class Commands:
    """Runs commands by name. `table` holds (name, function of a dict that returns a dict)."""

    def __init__(self, table: tuple) -> None:
        self._table = table
        self.ran = 0
        self.refused = 0

    def run(self, name: str, args: bytes) -> tuple:
        """(status, answer) for a command as it came over the wire."""
        status, body = self._try(name, args)
        if status == OK:
            self.ran += 1
        else:
            self.refused += 1
        return status, body

    def _try(self, name: str, args: bytes) -> tuple:
        function = None
        for known, candidate in self._table:
            if known == name:
                function = candidate
        if function is None:
            names = ", ".join(known for known, _function in self._table)
            return UNKNOWN, {"error": "no command " + name + "; there are " + names}
        try:
            given = json.loads(args.decode()) if args else {}
        except ValueError:
            return BAD, {"error": "arguments are not JSON: " + repr(args[:40])}
        if not isinstance(given, dict):
            return BAD, {"error": "arguments must be a JSON object, not " + repr(given)[:40]}
        try:
            return OK, function(given)
        except BadArguments as error:
            return BAD, {"error": str(error)}
        except (OSError, MemoryError) as error:
            return FAILED, {"error": repr(error)}


def seconds_of(args: dict, default_s: float, most_s: float) -> float:
    """The argument `seconds`, between 0 and `most_s`. Raises BadArguments."""
    value = args.get("seconds", default_s)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise BadArguments("seconds is " + repr(value) + ", must be a number")
    if not 0 <= value <= most_s:
        raise BadArguments("seconds is " + str(value) + ", outside 0 to " + str(most_s))
    return value
