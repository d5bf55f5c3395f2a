"""`holdfast grid`: an operator takes a grid in or out of use."""

import json
import urllib.parse
from typing import Annotated, Final

import typer

from holdfast.cli.status import admin_url, ask
from holdfast.cli.telling import ConfigOption, DataOption, JsonOption, prose, settings_or_exit, tell_problem
from holdfast.errors import ConfigError
from holdfast.health.standing import Use

HELP: Final = prose("""
Take a grid in or out of use, or leave it to its health again.

[b]out[/b]: nothing is asked of it, not even whether it is there. What it is owed waits, and is paid when it is in use again.
Objects that only it holds cannot be read meanwhile.

[b]in[/b]: it is asked like a healthy grid, whatever its breakers would say.

[b]auto[/b]: its health decides. What was held against it is forgotten.

The decision holds in all workers within a second or two, is kept across restarts, and is shown by
[cyan]holdfast status[/cyan]. Exit code 0: it holds; 1: the node cannot be reached, or says no.

[b]Examples[/b]

[cyan]holdfast grid aws out[/cyan]   before a provider's maintenance

[cyan]holdfast grid aws auto[/cyan]   after it
""")

_MEANS: Final = {
    Use.OUT: "is out of use: nothing is asked of it, and what it is owed waits. Undo: holdfast grid {grid} auto",
    Use.IN: "is kept in use, whatever its breakers would say. Undo: holdfast grid {grid} auto",
    Use.AUTO: "is left to its health.",
}


def command(
    grid: Annotated[str, typer.Argument(metavar="NAME", help="The grid's name in the configuration.")],
    use: Annotated[Use, typer.Argument(metavar="in|out|auto", help="Whether it is in use.")],
    config: ConfigOption = None,
    data: DataOption = None,
    admin: Annotated[
        str | None, typer.Option("--admin", metavar="HOST:PORT", help="The node's admin listener.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Take a grid in or out of use."""
    settings = settings_or_exit(config, {"data": data, "server.admin": admin}).settings
    names = [known.name for known in settings.grid]
    try:
        url = admin_url(settings, given=admin is not None)
        if admin is None and grid not in names:
            raise ConfigError("grid", f"there is no grid {grid!r}.", f"Choose one of: {', '.join(names)}.")
        page = f"/grids/{urllib.parse.quote(grid, safe='')}?use={use.value}"
        body = ask(url, page, method="PUT")
    except ConfigError as trouble:
        tell_problem(trouble)
        raise typer.Exit(1) from trouble
    if as_json:
        print(json.dumps(json.loads(body)))
    else:
        print(f"{grid} {_MEANS[use].format(grid=grid)}")
