"""The rules of who may import whom, and a few more, as a check of any source tree.

Reads files with `ast` and imports nothing of them. Holds the tables of layers and exceptions;
`test_architecture.py` runs it over the checkout and over planted violations. An import counts
wherever it stands: in a function and under TYPE_CHECKING too.
"""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

MAX_LINES = 400
SOURCES = ("device", "gateway", "tools", "tests", "hil")

# Gateway modules by layer, lowest first. A module imports from lower layers only, and none of its
# own layer; what PAIRS names is allowed besides.
LAYERS = (
    ("recordplan",),
    ("model", "config", "kernelclock"),
    ("clocksync", "utcclock", "registers", "devices", "descriptions", "topics", "memory"),
    ("link", "store", "feed"),
    ("machines", "ledger", "health", "mqttsession", "committer", "supervisor", "logs", "sdnotify"),
    ("stream", "removals"),
    ("sources", "bridges", "api"),
    ("parts", "shutdown", "starting"),
    ("app", "__main__"),
)
PAIRS = {("config", "model"), ("__main__", "app")}
# Folders in which one file must not know another; `base` and the package itself are no siblings.
NO_SIBLINGS = ("clampgateway.bridges", "clampdevice.drivers")
COMMON = {"", "base"}

# Which of our packages may import which. The gateway knows neither firmware nor tools; the tools
# do not import the firmware, which an install carries as data only.
PACKAGES = {
    "clampwire": {"clampwire"},
    "clampdevice": {"clampdevice", "clampwire"},
    "clampgateway": {"clampgateway", "clampwire"},
    "clamptools": {"clamptools", "clampgateway", "clampwire"},
}
# All that clampwire may import beside itself; of collections only namedtuple.
WIRE_IMPORTS = {"struct", "binascii", "collections.namedtuple"}
CHIP_MODULES = {"machine", "rp2", "esp32"}
# What each part of hal/ may import of them: a port never another's, the simulation none.
HAL_MODULES = {"rp2": {"machine", "rp2"}, "esp32": {"machine", "esp32"}}
# Missing on MicroPython, so absent from device/ but for the one file that runs on a Pi.
NOT_ON_DEVICES = {
    "__future__", "contextlib", "dataclasses", "enum", "functools", "inspect", "logging",
    "pathlib", "tomllib", "typing", "unittest", "zlib",
}  # fmt: skip
CPYTHON_ONLY = ("device/clampdevice/hal/blinka.py",)
# Libraries whose types stay in one file of the gateway, so that each can be replaced there.
CONFINED = {
    "aiomqtt": "nowhere in the gateway",
    "paho": "nowhere in the gateway",
    "serialx": "clampgateway.sources.serial",
    "numpy": "nowhere in the gateway",
    "pymodbus": "clampgateway.sources.modbus_meter.bus",
}
# The only files that may catch Exception: they keep independent parts apart, log and count.
SUPERVISORS = ("gateway/clampgateway/supervisor.py", "device/clampdevice/app.py")
BROAD = {"Exception", "BaseException"}


@dataclass(frozen=True)
class Source:
    """One parsed file: path relative to the root, dotted module name, and syntax tree.

    `known` holds the names of all modules of the tree: `from a import b` may name a module or not.
    """

    path: str
    module: str
    tree: ast.Module
    lines: int
    known: frozenset[str]

    @property
    def package(self) -> str:
        """The top-level package, or an empty string for a file outside any (`device/main.py`)."""
        first = self.module.partition(".")[0]
        return first if first in PACKAGES else ""

    @property
    def on_device(self) -> bool:
        """Whether MicroPython must be able to run it."""
        return self.path.startswith("device/") and self.path not in CPYTHON_ONLY

    def at(self, node: ast.AST, text: str) -> str:
        """A violation with its place."""
        return f"{self.path}:{getattr(node, 'lineno', 1)}: {text}"


def violations(root: Path) -> list[str]:
    """Returns one line a violation in the tree below `root`, as `path:line: what`."""
    found: list[str] = []
    for source in read(root):
        if source.lines > MAX_LINES:
            found.append(f"{source.path}: {source.lines} lines, more than {MAX_LINES}: split it")
        if source.path.startswith("tests/"):
            continue
        for rule in RULES:
            found.extend(rule(source))
    return found


def read(root: Path) -> Iterator[Source]:
    """Parses every Python file of the source folders."""
    files = [
        (path, _module(path.relative_to(root / folder)))
        for folder in SOURCES
        for path in sorted((root / folder).rglob("*.py"))
    ]
    known = frozenset(module for _, module in files)
    for path, module in files:
        text = path.read_text(encoding="utf-8")
        relative = path.relative_to(root).as_posix()
        tree = ast.parse(text, filename=relative)
        yield Source(relative, module, tree, len(text.splitlines()), known)


def _module(path: Path) -> str:
    parts = path.with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(source: Source) -> Iterator[tuple[ast.AST, str]]:
    """Yields every imported name in full: `a.b` for `import a.b`, `a.b` for `from a import b`."""
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node, alias.name
        elif isinstance(node, ast.ImportFrom):
            start = _start(source, node.level) if node.level else []
            origin = ".".join([*start, *([node.module] if node.module else [])])
            for alias in node.names:
                yield node, f"{origin}.{alias.name}"
        elif isinstance(node, ast.Call) and _is_import_call(node):
            name = node.args[0]
            if isinstance(name, ast.Constant) and isinstance(name.value, str):
                yield node, name.value


def _start(source: Source, level: int) -> list[str]:
    """The package that a relative import starts from."""
    parts = source.module.split(".")
    up = level - 1 if source.path.endswith("/__init__.py") else level
    return parts[: len(parts) - up]


def _is_import_call(node: ast.Call) -> bool:
    function = node.func
    name = function.id if isinstance(function, ast.Name) else getattr(function, "attr", "")
    return name in {"__import__", "import_module"} and bool(node.args)


def check_packages(source: Source) -> Iterator[str]:
    """Who may import which of our packages."""
    if source.package == "clampwire":
        return  # check_wire is stricter
    allowed = PACKAGES.get(source.package, set(PACKAGES))
    for node, name in imports(source):
        top = name.partition(".")[0]
        if top in PACKAGES and top not in allowed:
            yield source.at(node, f"{source.package} imports {name}")


def check_wire(source: Source) -> Iterator[str]:
    """clampwire is pure."""
    if source.package != "clampwire":
        return
    for node, name in imports(source):
        top = name.partition(".")[0]
        if top != "clampwire" and not {name, top} & WIRE_IMPORTS:
            yield source.at(node, f"clampwire imports {name}, beyond {sorted(WIRE_IMPORTS)}")


def check_layers(source: Source) -> Iterator[str]:
    """In the gateway: only downwards."""
    if source.package != "clampgateway" or source.module == "clampgateway":
        return
    own = source.module.split(".")[1]
    if own not in _LEVEL:
        yield f"{source.path}:1: {own} is in no layer: name it in {Path(__file__).name}"
        return
    for node, name in imports(source):
        parts = name.split(".")
        if parts[0] != "clampgateway" or len(parts) == 1 or parts[1] == own:
            continue
        other = parts[1]
        if other not in _LEVEL:
            yield source.at(node, f"{name} is in no layer")
        elif _LEVEL[other] >= _LEVEL[own] and (own, other) not in PAIRS:
            yield source.at(node, f"{own} imports {other}, which is not below it")


def check_siblings(source: Source) -> Iterator[str]:
    """A driver or a bridge knows no other."""
    for folder in NO_SIBLINGS:
        if not f"{source.module}.".startswith(f"{folder}."):
            continue
        own = _component(source.module, folder)
        for node, name in imports(source):
            if not f"{name}.".startswith(f"{folder}."):
                continue
            other = _component(name, folder)
            if f"{folder}.{other}" in source.known and other not in {own, *COMMON}:
                yield source.at(node, f"{own or folder} imports its sibling {other}")


def check_chip(source: Source) -> Iterator[str]:
    """Only hal/ touches the chip; the ADC above all, which has one reader."""
    if not source.path.startswith("device/"):
        return
    in_hal = f"{source.module}.".startswith("clampdevice.hal.")
    allowed = (
        HAL_MODULES.get(_component(source.module, "clampdevice.hal"), set()) if in_hal else set()
    )
    for node, name in imports(source):
        if name.partition(".")[0] in CHIP_MODULES - allowed:
            yield source.at(node, f"imports {name}, which only hal/ of that chip may")
    if in_hal:
        return
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Attribute) and node.attr == "ADC":
            yield source.at(node, "uses an ADC outside hal/")


def check_device_syntax(source: Source) -> Iterator[str]:
    """Nothing in device/ that MicroPython has not."""
    if not source.on_device:
        return
    for node, name in imports(source):
        if name.partition(".")[0] in NOT_ON_DEVICES:
            yield source.at(node, f"imports {name}, which MicroPython has not")
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Match):
            yield source.at(node, "match, which MicroPython has not")
        elif isinstance(node, ast.arguments) and node.posonlyargs:
            yield source.at(node.posonlyargs[0], "positional-only /, which MicroPython has not")
        elif isinstance(node, ast.Attribute) and node.attr in {"Struct", "TaskGroup"}:
            yield source.at(node, f"{node.attr}, which MicroPython has not")


def check_confined(source: Source) -> Iterator[str]:
    """A replaceable library is imported by one file of the gateway."""
    if source.package != "clampgateway":
        return
    for node, name in imports(source):
        home = CONFINED.get(name.partition(".")[0])
        if home is not None and not f"{source.module}.".startswith(f"{home}."):
            yield source.at(node, f"imports {name}, which belongs to {home}")


def check_broad_except(source: Source) -> Iterator[str]:
    """`except Exception` only in supervisors, and never to pass over it."""
    for node in ast.walk(source.tree):
        if isinstance(node, ast.ExceptHandler) and _is_broad(node.type):
            last = node.body[-1]
            if isinstance(last, ast.Raise) and last.exc is None:
                continue
            if source.path not in SUPERVISORS:
                yield source.at(node, "catches every exception, but is no supervisor")
            elif not any(
                isinstance(inner, ast.Call) for part in node.body for inner in ast.walk(part)
            ):
                yield source.at(node, "swallows every exception")
        elif isinstance(node, ast.Call) and any(_is_broad(argument) for argument in node.args):
            if getattr(node.func, "attr", getattr(node.func, "id", "")) == "suppress":
                yield source.at(node, "suppresses every exception")


def check_globals(source: Source) -> Iterator[str]:
    """No module holds state that functions change."""
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Global):
            yield source.at(node, f"global {', '.join(node.names)}: pass it instead")


def _component(name: str, folder: str) -> str:
    return name[len(folder) + 1 :].partition(".")[0]


def _is_broad(caught: ast.expr | None) -> bool:
    if caught is None:
        return True
    if isinstance(caught, ast.Tuple):
        return any(_is_broad(one) for one in caught.elts)
    return isinstance(caught, ast.Name) and caught.id in BROAD


_LEVEL = {name: level for level, names in enumerate(LAYERS) for name in names}
RULES = (
    check_packages,
    check_wire,
    check_layers,
    check_siblings,
    check_chip,
    check_device_syntax,
    check_confined,
    check_broad_except,
    check_globals,
)
