"""The reference of all settings, printed from their table, so that it cannot be out of step."""

from holdfast.config.settings import LISTS, NAMED, TABLES, Settings, default_of, environment_names, rows
from holdfast.model import Value

_HEAD = """\
# Configuration

Printed by `holdfast config reference` from the table of settings; `make docs-config` writes this file anew.

One TOML file, given with `--config FILE` or `HOLDFAST_CONFIG`. Every setting has a default, so the file may be empty or
missing. A name that is not known is refused, with a hint at what was meant. `holdfast config check` prints what is in effect,
where each value comes from, and what each policy means.

**Order.** A flag of the command line goes before a variable, a variable before the file, the file before the default.
Settings outside `[[grid]]`, `[policy.NAME]` and `[[bucket]]` can be overridden by the variable that is named with them.

**Sizes** are `"64MiB"`, `"200GiB"` (1024) or `"2TB"` (1000). **Durations** are `"500ms"`, `"30s"`, `"5m"`, `"12h"`, `"30d"`.
**Paths** in the file start at the file's directory, those of flags and variables at the working directory; what lies under
`data` starts there.

**The root key pair** is not in this file. It is taken from `HOLDFAST_ACCESS_KEY` and `HOLDFAST_SECRET_KEY`, whose values may be
`env:NAME` (another variable) or `file:PATH` (the content of a file); without them it is made at the first start and kept
in `<data>/credentials.toml`, readable by its owner only.
"""

_EXAMPLE = """
## An example

```toml
data = "/var/lib/holdfast"

[server]
listen = "0.0.0.0:9000"
workers = 2

[spool]
limit = "200GiB"

[[grid]]
name = "left"
url = "folder:/mnt/left/holdfast"
domain = ["disk-1"]

[[grid]]
name = "right"
url = "folder:/mnt/right/holdfast"
domain = ["disk-2"]

[policy.standard]
grids = ["left", "right"]

[policy.vital]
grids = ["left", "right"]
ack = 2
outage = "refuse"

[[bucket]]
name = "ledger"
policy = "vital"
```
"""


def reference() -> str:
    """All settings as Markdown."""
    variables = {place: name for name, place in environment_names().items()}
    data = rows(Settings)["data"]
    parts = [_HEAD, _section("At the top", "", [_row("data", data.kind.name, "data", data.doc, "HOLDFAST_DATA")], True)]
    for table, kind in TABLES.items():
        lines = [
            _row(name, row.kind.name, _default(kind, name), row.doc, variables[table, name])
            for name, row in rows(kind).items()
        ]
        parts.append(_section(f"`[{table}]`", _about(kind), lines, True))
    for title, kind in (
        *((f"`[[{name}]]`", kind) for name, kind in LISTS.items()),
        *((f"`[{name}.NAME]`", kind) for name, kind in NAMED.items()),
    ):
        lines = [_row(name, row.kind.name, _default(kind, name), row.doc, "") for name, row in rows(kind).items()]
        parts.append(_section(title, _about(kind), lines, False))
    return "".join(parts) + _EXAMPLE


def _about(kind: type[Value]) -> str:
    return (kind.__doc__ or "").strip() + "\n\n"


def _default(kind: type[Value], name: str) -> str:
    value = default_of(kind, name)
    return "" if value is None or value == () else rows(kind)[name].kind.show(value)


def _row(name: str, form: str, default: str, doc: str, variable: str) -> str:
    cells = [f"`{name}`", form, f"`{default}`" if default else "", doc, *([f"`{variable}`"] if variable else [])]
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |\n"


def _section(title: str, about: str, lines: list[str], variables: bool) -> str:
    heads = ["setting", "written as", "default", "what it does", *(["variable"] if variables else [])]
    rule = "|" + "---|" * len(heads) + "\n"
    return f"\n## {title}\n\n{about}| " + " | ".join(heads) + " |\n" + rule + "".join(lines)
