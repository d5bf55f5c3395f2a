"""The house rules that a machine can check: who may import whom, where each library comes in, what no module does."""

import ast
import re
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "holdfast"

LEVELS: list[set[str]] = [
    {"serve"},
    {"wire"},
    {"access"},
    {"store"},
    {"keepers"},
    {"copies", "webhooks"},
    {"index", "spool", "cache"},
    {"wrappers"},
    {"grids"},
    {"health"},
    {"proof"},
    {
        "model",
        "s3",
        "errors",
        "clock",
        "limits",
        "events",
        "digests",
        "signing",
        "xml",
        "crew",
        "folders",
        "config",
        "sealing",
    },
]
"""Rooms from top to bottom. A room imports itself and what is below it; the floor may import the floor."""
FLOOR = LEVELS[-1]
ABOVE_ALL = {"app", "cli", "testing", "console", "client", "__main__"}
"""May import everything, and nothing below imports them."""

DOORS: dict[str, tuple[str, ...]] = {
    "aiohttp": ("grids/s3/connection.py", "grids/s3/names.py", "webhooks/sender.py"),
    "apsw": ("index/sqlite", "testing/disk/sqlite.py", "testing/simulation/machine.py"),
    "awscrt": ("digests.py",),
    "cryptography": ("sealing/",),
    "defusedxml": ("xml.py",),
    "httptools": ("serve/connection.py",),
    "msgspec": ("model.py", "config/"),
    "obstore": ("grids/obstore/store.py",),
    "prometheus_client": ("serve/metrics.py",),
    "rich": ("cli/",),
    "starlette": ("serve/admin.py",),
    "structlog": ("serve/log.py",),
    "typer": ("cli/",),
    "uvicorn": ("serve/admin.py",),
    "uvloop": ("serve/", "app.py", "testing/"),
    "yarl": ("grids/s3/connection.py",),
}
"""Where each third-party library may be imported."""

CHANCE = {"time", "random", "secrets", "uuid"}
SEEDED = "testing/simulation/"
"""All its chance comes from a seed that somebody names, so it may make dice; and its loop's time is no real one."""
NOW = {"datetime.now", "datetime.utcnow", "datetime.today", "date.today", "os.urandom", "time.time", "loop.time"}
NOW_NAMES = {name.split(".")[1] for name in NOW}
BROAD = {
    ("serve/gateway.py", "handle"): "the outer frame of every request",
    ("keepers/supervisor.py", "_run"): "the supervisor's frame",
    ("crew.py", "_work"): "carries every outcome to the future of its caller",
    ("grids/folder/flush.py", "_make"): "carries every outcome to the future of its caller",
    ("testing/simulation/machine.py", "_submitter"): "has the next one within",
    ("testing/simulation/machine.py", "end"): "carries every outcome to the future of its caller",
    ("testing/simulation/loop.py", "_do"): "carries every outcome to the future of its caller",
    ("testing/simulation/run.py", "play"): "whatever ends a run is its result",
    ("testing/simulation/run.py", "_fork"): "the outer frame of a child process",
    ("index/sqlite_commit.py", "_commit_some"): "carries every outcome to the futures of its callers",
}
"""Functions that may catch everything without raising it again, and why."""
TASKS = {
    "keepers/supervisor.py": "the supervisor",
    "serve/connection.py": "one handler per request, ended by its connection",
    "index/sqlite_commit.py": "the committer, ended by close",
    "testing/simulation/places.py": "requests that arrive although whoever sent them is dead",
    "testing/simulation/world.py": "processes of a simulation, which can die",
    "grids/s3/deletes.py": "one request for many callers, ended by the last of them or by close",
}
"""Modules that may start a task outside a TaskGroup, and why."""
ROOM_SIZE = 12
ROOMS_ALLOWED = {
    "index": 22,
    "wire": 19,
    "wire/documents": 24,
    "store": 18,
    "access": 15,
    "s3": 24,
    "grids/s3": 13,
    "cli": 16,
    "serve": 17,
}
"""The SQLite engine, S3's many requests and replies, its documents, its side as a client, a command each: each one idea, in small files."""
MODULE_LINES = 500
LONG_TABLES = {"limits.py": 700, "config/settings.py": 700}
"""Modules that are one table and nothing else."""
FORBIDDEN_NAMES = {"utils", "util", "common", "helpers", "helper", "manager", "misc"}


def modules() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def name_of(path: Path) -> str:
    return path.relative_to(PACKAGE).as_posix()


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def room_of(name: str) -> str:
    """`serve/http.py` and `holdfast.serve.http` are in `serve`; `app.py` is `app`."""
    return name.removeprefix("holdfast.").replace(".py", "").replace("/", ".").split(".")[0]


def imports(path: Path) -> Iterator[tuple[int, str]]:
    """Every module that a file imports at run time, with the line."""
    for node in _walk(tree(path)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name_of(path)}:{node.lineno}: imports say the whole name"
            yield node.lineno, node.module or ""
            if node.module == "holdfast":
                for alias in node.names:
                    yield node.lineno, f"holdfast.{alias.name}"


def _walk(node: ast.AST) -> Iterator[ast.AST]:
    """All nodes but those that only the type checker sees."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.dump(child.test):
            continue
        yield child
        yield from _walk(child)


def level_of(room: str) -> int:
    return next(number for number, rooms in enumerate(LEVELS) if room in rooms)


def forbidden_imports(path: Path) -> Iterator[str]:
    """What a module imports although its room may not."""
    own = room_of(name_of(path))
    for line, target in imports(path):
        room = room_of(target)
        if not target.startswith("holdfast.") or room in (own, "__version__") or own in ABOVE_ALL:
            continue
        if room in ABOVE_ALL:
            yield f"{name_of(path)}:{line} imports {target}, which is above all rooms"
        elif level_of(room) < level_of(own):
            yield f"{name_of(path)}:{line} imports upwards: {target}"
        elif level_of(room) == level_of(own) and own not in FLOOR:
            yield f"{name_of(path)}:{line} imports sideways: {target}"


def test_every_module_is_in_a_known_room() -> None:
    known = set().union(*LEVELS) | ABOVE_ALL | {"__init__"}
    assert {room_of(name_of(path)) for path in modules()} <= known


def test_imports_go_down_only() -> None:
    assert [told for path in modules() if name_of(path) != "__init__.py" for told in forbidden_imports(path)] == []


def test_no_two_modules_import_each_other() -> None:
    names = {"holdfast." + name_of(path).removesuffix(".py").replace("/", "."): path for path in modules()}
    graph = {name: {target for _, target in imports(path) if target in names} for name, path in names.items()}
    done: set[str] = set()

    def visit(name: str, on_the_way: tuple[str, ...]) -> None:
        assert name not in on_the_way, f"a circle: {' -> '.join((*on_the_way, name))}"
        if name not in done:
            for target in sorted(graph[name]):
                visit(target, (*on_the_way, name))
            done.add(name)

    for name in sorted(graph):
        visit(name, ())


def test_each_library_comes_in_through_its_door() -> None:
    found = []
    for path in modules():
        for line, target in imports(path):
            library = target.split(".")[0]
            if library == "holdfast" or library in sys.stdlib_module_names:
                continue
            if not name_of(path).startswith(DOORS.get(library, ("nowhere",))):
                found.append(f"{name_of(path)}:{line} imports {library}")
    assert found == []


def test_only_the_clock_touches_time_and_chance() -> None:
    found = []
    for path in modules():
        if name_of(path) == "clock.py":
            continue
        chance = CHANCE - {"random"} if name_of(path).startswith(SEEDED) else CHANCE
        found += [f"{name_of(path)}:{line} imports {target}" for line, target in imports(path) if target in chance]
        for node in ast.walk(tree(path)) if chance is CHANCE else ():
            if isinstance(node, ast.Attribute) and node.attr in NOW_NAMES and ast.unparse(node).endswith(tuple(NOW)):
                found.append(f"{name_of(path)}:{node.lineno} uses {ast.unparse(node)}")
    assert found == []


def test_a_room_is_small_and_its_modules_have_names() -> None:
    rooms: dict[str, int] = {}
    for path in modules():
        if path.name != "__init__.py":
            room = path.parent.relative_to(PACKAGE).as_posix()
            rooms[room] = rooms.get(room, 0) + 1
            assert path.stem not in FORBIDDEN_NAMES, name_of(path)
    rooms.pop(".")
    assert {room: size for room, size in rooms.items() if size > ROOMS_ALLOWED.get(room, ROOM_SIZE)} == {}


def test_no_module_is_a_book() -> None:
    lengths = {name_of(path): len(path.read_text().splitlines()) for path in modules()}
    assert {name: length for name, length in lengths.items() if length > LONG_TABLES.get(name, MODULE_LINES)} == {}


def test_every_module_says_what_it_answers_for() -> None:
    silent = [name_of(path) for path in modules() if path.read_text().strip() and not ast.get_docstring(tree(path))]
    assert silent == []


def _functions(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def _catches_all(handler: ast.ExceptHandler) -> bool:
    caught = "BaseException" if handler.type is None else ast.unparse(handler.type)
    return re.search(r"\b(Base)?Exception\b", caught) is not None


def _raises_again(handler: ast.ExceptHandler) -> bool:
    return isinstance(handler.body[-1], ast.Raise)


def frames_that_catch_all() -> dict[tuple[str, str], int]:
    """Functions that catch everything and do not raise it again, with the line."""
    return {
        (name_of(path), function.name): node.lineno
        for path in modules()
        for function in _functions(path)
        for node in ast.walk(function)
        if isinstance(node, ast.ExceptHandler) and _catches_all(node) and not _raises_again(node)
    }


def test_everything_is_caught_only_in_outer_frames() -> None:
    assert set(frames_that_catch_all()) == set(BROAD)


def test_tasks_live_in_scopes() -> None:
    found = []
    for path in modules():
        if name_of(path) in TASKS:
            continue
        groups = {
            ast.unparse(item.optional_vars)
            for node in ast.walk(tree(path))
            if isinstance(node, ast.AsyncWith)
            for item in node.items
            if item.optional_vars is not None and "TaskGroup" in ast.unparse(item.context_expr)
        }
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                starts = node.func.attr in ("create_task", "ensure_future")
                if starts and ast.unparse(node.func.value) not in groups:
                    found.append(f"{name_of(path)}:{node.lineno}")
    assert found == []


def test_no_class_answers_for_names_it_does_not_define() -> None:
    found = [
        f"{name_of(path)}:{function.lineno}"
        for path in modules()
        if room_of(name_of(path)) not in ABOVE_ALL
        for function in _functions(path)
        if function.name == "__getattr__"
    ]
    assert found == []


# --- the whole checkout ---

_TEXTS = {".py", ".md", ".toml", ".txt", ".yml", ".yaml", ".sh", ".cfg", ""}
_PRIVATE = {".git", ".venv", "data", "build", "dist", "results", "node_modules"}
_HOSTS = (
    "py" + "pi.",
    "python" + "hosted.",
    "np" + "mjs.",
    "crates" + ".io",
    "--index" + "-url",
    "--trusted" + "-host",
)
_MACHINE = re.compile(r"(?<![\w.])/(?:work|home|root|opt|Users)" + r"/[A-Za-z_.]")
_UNFINISHED = re.compile(r"\b(?:TO" + "DO|FIX" + r"ME|XX" + r"X)\b")


@cache
def texts() -> list[tuple[Path, str]]:
    found = []
    for path in sorted(ROOT.rglob("*")):
        parts = path.relative_to(ROOT).parts
        hidden = any(part.startswith(".") and part not in (".ci", ".gitignore") for part in parts)
        if hidden or _PRIVATE & set(parts) or any(part.endswith(".egg-info") for part in parts):
            continue
        if path.is_file() and path.suffix in _TEXTS:
            found.append((path, path.read_text(encoding="utf-8")))
    return found


@pytest.mark.parametrize("what", ["a registry's host", "a path of one machine", "unfinished work"])
def test_no_text_names(what: str) -> None:
    def matches(line: str) -> bool:
        match what:
            case "a registry's host":
                return any(host in line for host in _HOSTS)
            case "a path of one machine":
                return _MACHINE.search(line) is not None
            case _:
                return _UNFINISHED.search(line) is not None

    found = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
        for path, text in texts()
        for number, line in enumerate(text.splitlines(), 1)
        if matches(line)
    ]
    assert found == []


def test_tests_use_no_mocks_and_do_not_sleep() -> None:
    found = []
    for path in sorted((ROOT / "tests").rglob("*.py")):
        for line, target in imports_of_test(path):
            if target.startswith("unittest.mock") or target == "mock":
                found.append(f"{path.relative_to(ROOT)}:{line} imports {target}")
        if path.parent.name in ("unit", "properties"):
            found += [
                f"{path.relative_to(ROOT)}:{node.lineno} sleeps"
                for node in ast.walk(tree(path))
                if isinstance(node, ast.Attribute) and node.attr == "sleep" and ast.unparse(node) == "time.sleep"
            ]
    assert found == []


def imports_of_test(path: Path) -> Iterator[tuple[int, str]]:
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.lineno, node.module or ""


def test_versions_are_pinned_without_addresses() -> None:
    for name in ("run", "dev", "clients", "fuzz"):
        for line in (ROOT / "requirements" / f"{name}.txt").read_text().splitlines():
            assert re.fullmatch(r"(#.*|-r [a-z]+\.txt|[A-Za-z0-9._-]+==[A-Za-z0-9.]+)?", line), line


def test_every_library_that_is_imported_is_declared_and_pinned() -> None:
    declared = (ROOT / "pyproject.toml").read_text()
    pinned = (ROOT / "requirements" / "run.txt").read_text().lower()
    for library in DOORS:
        assert f'"{library.replace("_", "-")}>=' in declared, library
        assert re.search(rf"^{library.replace('_', '[-_]')}==", pinned, re.MULTILINE), library


# --- the rules themselves are tested on what they must find ---


@pytest.fixture
def stranger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty package in place of ours."""
    monkeypatch.setattr(sys.modules[__name__], "PACKAGE", tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("name", "line", "told"),
    [
        ("wire/x.py", "from holdfast.serve import http", "upwards"),
        ("index/x.py", "import holdfast.spool.spool", "sideways"),
        ("grids/x.py", "from holdfast.testing import contract", "above all"),
        ("model.py", "from holdfast import app", "above all"),
    ],
)
def test_a_wrong_import_is_found(stranger: Path, name: str, line: str, told: str) -> None:
    path = stranger / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(line + "\n")
    assert any(told in found for found in forbidden_imports(path))


def test_what_only_the_type_checker_sees_is_allowed(stranger: Path) -> None:
    path = stranger / "wire"
    path.mkdir()
    (path / "x.py").write_text("if TYPE_CHECKING:\n    from holdfast.serve import http\n")
    assert list(forbidden_imports(path / "x.py")) == []
