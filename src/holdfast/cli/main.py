"""`holdfast`: the operator's commands, joined.

Answers for the command line as a whole and for turning an operator's mistake into a sentence and exit code 2.
The commands are modules of this room. Invariant: a mistake in a setting never shows a traceback.
"""

import sys
from typing import Annotated

import typer

from holdfast import __version__
from holdfast.cli import access, certify, config, demo, grid, lab, serve, simulate, status, unseal
from holdfast.cli.telling import prose, tell_problem
from holdfast.errors import ConfigError

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
    help=prose("""
An S3 endpoint that keeps working when the storage behind it does not.

Applications talk S3 to Holdfast; Holdfast keeps every object on two or more independent [b]grids[/b], serves each read from
a copy that is alive and correct, accepts writes while grids are away, and catches up by itself afterwards.

[b]A first try[/b]: [cyan]holdfast serve --data ./data[/cyan] prints an endpoint, a key pair and examples for clients. In another
terminal, [cyan]holdfast status --data ./data[/cyan] shows what each grid holds and is owed.
"""),
)
app.command("serve", help=serve.HELP)(serve.command)
app.command("status", help=status.HELP)(status.command)
app.command("grid", help=grid.HELP)(grid.command)
app.command("certify", help=certify.HELP)(certify.command)
app.command("unseal", help=unseal.HELP)(unseal.command)
app.command("demo", help=demo.HELP)(demo.command)
app.command("lab", help=lab.HELP)(lab.command)
app.command("simulate", help=simulate.HELP)(simulate.command)
app.add_typer(config.app, name="config")
app.add_typer(access.account_app, name="account")
app.add_typer(access.user_app, name="user")
app.add_typer(access.group_app, name="group")
app.add_typer(access.role_app, name="role")
app.add_typer(access.key_app, name="key")
app.add_typer(access.policy_app, name="policy")


@app.command()
def version(as_json: Annotated[bool, typer.Option("--json", help="For machines.")] = False) -> None:
    """Print the version and leave."""
    print(f'{{"version": "{__version__}"}}' if as_json else f"holdfast {__version__}")


def main() -> None:
    """Run the command line; never returns."""
    try:
        app()
    except ConfigError as trouble:
        tell_problem(trouble)
        sys.exit(2)
