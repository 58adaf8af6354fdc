"""A configuration's problems in words: what is wrong where, and what would be right.

Owns the two error types and the step from pydantic's errors to our lines. Which keys there are
is `settings.py` and the settings of each source and bridge.
"""

from __future__ import annotations

import difflib
import json
import types
import typing
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from clampgateway.config.lines import TomlPath, line_of
from clampgateway.model import GatewayError

SHOWN_CHARS = 40
KINDS = {
    "int": "a whole number",
    "float": "a number",
    "string": "text in quotes",
    "bool": "true or false",
    "list": "an array [ ... ]",
    "tuple": "an array [ ... ]",
    "set": "an array [ ... ]",
    "model": "a table",
    "dict": "a table",
    "path": "a path in quotes",
}


class Problem(NamedTuple):
    """One thing to put right: line (from 1), dotted path, what is wrong and what to do."""

    line: int
    path: str
    what: str
    hint: str = ""

    def __str__(self) -> str:
        where = f"{self.path}: " if self.path else ""
        return f"line {self.line}: {where}{self.what}" + (f"; {self.hint}" if self.hint else "")


class ConfigError(GatewayError):
    """The file cannot be used. `problems` has all of them, in the order of their lines."""

    def __init__(self, file: Path, problems: Iterable[Problem]) -> None:
        self.file = file
        self.problems = sorted(problems)
        super().__init__("\n".join(f"{file}: {problem}" for problem in self.problems))


class Wrong(ValueError):
    """Raised by a validator of a settings model: what is wrong, and a hint of its own."""

    def __init__(self, what: str, hint: str = "") -> None:
        self.what, self.hint = what, hint
        super().__init__(what)


def problems_of(
    error: ValidationError, model: type[BaseModel], base: TomlPath, lines: Mapping[TomlPath, int]
) -> list[Problem]:
    """One problem for each place of `error`, found when `model` read the table at `base`."""
    found: dict[TomlPath, Problem] = {}
    for detail in error.errors(include_url=False):
        # A union names each alternative it tried behind the place: the first tells enough.
        inner = tuple(part for part in detail["loc"] if not _is_tag(part))
        path = base + inner
        what, hint = _words(detail, model, inner)
        found.setdefault(path, Problem(line_of(lines, path), dotted(path), what, hint))
    return list(found.values())


def dotted(path: TomlPath) -> str:
    """`("serial", 1, "port")` as a person writes it: `serial[1].port`; arrays count from 0."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def nearest(word: str, known: Iterable[str]) -> str:
    """A hint towards a known word, or all of them if none is near."""
    known = sorted(known)
    near = difflib.get_close_matches(word.lower(), known, n=1, cutoff=0.6)
    if near:
        return f'did you mean "{near[0]}"?'
    return "known here: " + ", ".join(known)


def shown(value: object) -> str:
    """A value as the file has it, without control characters; a path whole, others cut short."""
    text = json.dumps(value, default=str, ensure_ascii=True)
    if isinstance(value, Path) or len(text) <= SHOWN_CHARS:
        return text
    return text[: SHOWN_CHARS - 3] + "..."


def _words(detail: ErrorDetails, model: type[BaseModel], inner: TomlPath) -> tuple[str, str]:
    kind, context, value = detail["type"], detail.get("ctx", {}), detail["input"]
    name = str(inner[-1]) if inner else ""
    if kind == "extra_forbidden":
        return "there is no such key", _hint_for_unknown(name, _model_at(model, inner[:-1]))
    field = _field_at(model, inner)
    if kind == "missing":
        return "is missing", _about(field)
    if kind == "value_error":
        cause = context["error"]
        if isinstance(cause, Wrong):
            return cause.what, cause.hint
        return f"{cause}", _about(field)
    if kind == "literal_error":
        choices = _choices(field)
        near = difflib.get_close_matches(str(value).lower(), choices, n=1)
        hint = f'did you mean "{near[0]}"?' if near else ""
        return f"is {shown(value)}, must be {context['expected']}", hint
    if kind.startswith(("greater_than", "less_than")):
        return f"is {shown(value)}", "allowed: " + (_range(field) or _bound(kind, context))
    if kind.startswith(("too_short", "too_long", "string_too", "string_pattern")):
        return f"is {shown(value)}", _about(field) or detail["msg"]
    if kind == "finite_number":
        return f"is {shown(value)}, must be a finite number", _about(field)
    wanted = KINDS.get(kind.partition("_")[0])
    if wanted is not None:
        return f"must be {wanted}, is {shown(value)}", _example(name, field)
    return f"{detail['msg']}, is {shown(value)}", _about(field)


def _hint_for_unknown(name: str, model: type[BaseModel] | None) -> str:
    known = tuple(model.model_fields) if model is not None else ()
    secret = f"{name}_file"
    if secret in known:
        return f'secrets come from files: "{secret}"'
    return nearest(name, known) if known else ""


def _about(field: FieldInfo | None) -> str:
    return (field.description or "").rstrip(".") if field is not None else ""


def _example(name: str, field: FieldInfo | None) -> str:
    default = field.default if field is not None else None
    if isinstance(default, bool):
        default = str(default).lower()
    elif isinstance(default, str):
        default = json.dumps(default)
    if isinstance(default, str | int | float) and default not in ('""', ""):
        return f"for example {name} = {default}"
    return _about(field)


def _range(field: FieldInfo | None) -> str:
    """The bounds of a number as a person says them, from the field's own constraints."""
    low = high = None
    for rule in field.metadata if field is not None else ():
        low = getattr(rule, "ge", getattr(rule, "gt", low))
        high = getattr(rule, "le", getattr(rule, "lt", high))
    if low is not None and high is not None:
        return f"{low} to {high}"
    return ""


def _bound(kind: str, context: Mapping[str, Any]) -> str:
    words = {
        "greater_than_equal": "at least",
        "greater_than": "more than",
        "less_than_equal": "at most",
        "less_than": "less than",
    }
    bound = next((context[key] for key in ("ge", "gt", "le", "lt") if key in context), "?")
    return f"{words.get(kind, kind)} {bound}"


def _choices(field: FieldInfo | None) -> tuple[str, ...]:
    if field is None or typing.get_origin(field.annotation) is not typing.Literal:
        return ()
    return tuple(choice for choice in typing.get_args(field.annotation) if isinstance(choice, str))


def _is_tag(part: str | int) -> bool:
    return isinstance(part, str) and (part in KINDS or part in ("str", "constrained-str"))


def _model_at(model: type[BaseModel], path: TomlPath) -> type[BaseModel] | None:
    if not path:
        return model
    field = _field_at(model, path)
    return _inner_model(field.annotation) if field is not None else None


def _field_at(model: type[BaseModel], path: TomlPath) -> FieldInfo | None:
    """The field that `path` ends in; for an element of an array, the array's."""
    current: type[BaseModel] | None = model
    field: FieldInfo | None = None
    for part in path:
        if isinstance(part, int):
            continue
        if current is None or part not in current.model_fields:
            return None
        field = current.model_fields[part]
        current = _inner_model(field.annotation)
    return field


def _inner_model(annotation: Any) -> type[BaseModel] | None:  # noqa: ANN401 - any annotation
    """The first model inside `annotation`: itself, or in its array, table or alternatives."""
    if isinstance(annotation, type) and not isinstance(annotation, types.GenericAlias):
        return annotation if issubclass(annotation, BaseModel) else None
    for inner in typing.get_args(annotation):
        found = _inner_model(inner)
        if found is not None:
            return found
    return None
