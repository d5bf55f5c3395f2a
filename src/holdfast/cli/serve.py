"""`holdfast serve`: starts a node and says how to reach it."""

import os
import sys
from typing import Annotated, Final

import typer

from holdfast import __version__
from holdfast.cli.telling import ConfigOption, DataOption, prose, settings_or_exit
from holdfast.clock import SystemClock
from holdfast.config.check import warnings
from holdfast.config.credentials import Credentials, root_credentials
from holdfast.config.settings import Settings
from holdfast.serve.status import Endpoint

HELP: Final = prose("""
Serve S3 until it is stopped.

Without a configuration it serves on 127.0.0.1:9000, with two folder grids, the index and the spool under the data directory
(./data). The root key pair is taken from [cyan]HOLDFAST_ACCESS_KEY[/cyan] and [cyan]HOLDFAST_SECRET_KEY[/cyan]; otherwise
it is made at the first start, printed once, and kept in the data directory.

Every setting can be overridden by a variable: [cyan]listen[/cyan] in the table [cyan]\\[server][/cyan] is
[cyan]HOLDFAST_SERVER_LISTEN[/cyan]. A flag goes before a variable, a variable before the file.

Ctrl-C or SIGTERM finishes requests in progress and stops; a second one stops at once, and what was acknowledged is safe
either way. SIGHUP reloads certificates.

[b]Examples[/b]

[cyan]holdfast serve[/cyan]   a first try, data in ./data

[cyan]holdfast serve --config /etc/holdfast.toml[/cyan]   a configured node

[cyan]holdfast serve --data /srv/holdfast --listen 0.0.0.0:9000 --workers 2[/cyan]   for the network, on two cores
""")


def command(
    config: ConfigOption = None,
    data: DataOption = None,
    listen: Annotated[
        str | None, typer.Option("--listen", "-l", metavar="HOST:PORT", help="Where S3 clients connect.")
    ] = None,
    admin: Annotated[
        str | None,
        typer.Option("--admin", metavar="HOST:PORT", help="Where metrics, health and status are. Empty for none."),
    ] = None,
    workers: Annotated[str | None, typer.Option("--workers", "-w", metavar="N", help="Processes that serve.")] = None,
) -> None:
    """Serve S3 until it is stopped."""
    from holdfast.app import serve  # Late: the other commands need not wait for all of it.

    flags = {"data": data, "server.listen": listen, "server.admin": admin, "server.workers": workers}
    settings = settings_or_exit(config, flags).settings
    clock = SystemClock()
    credentials = root_credentials(settings.credentials_path, os.environ, clock)
    for warning in warnings(settings):
        print(f"warning: {warning}", file=sys.stderr)

    def announce(endpoint: Endpoint) -> None:
        print(announcement(settings, credentials, endpoint, show_secret=sys.stdout.isatty()), flush=True)

    try:
        code = serve(settings, credentials, clock=clock, announce=announce)
    except KeyboardInterrupt:
        code = 130
    raise typer.Exit(code)


def announcement(settings: Settings, credentials: Credentials, endpoint: Endpoint, *, show_secret: bool) -> str:
    """What an operator needs to begin. The secret is shown at a terminal and when it was just made."""
    from_environment = credentials.origin == "environment"
    shown = (show_secret or credentials.generated) and not from_environment
    secret = credentials.secret_key.reveal() if shown else ""
    if from_environment:
        kept = "the key pair is that of HOLDFAST_ACCESS_KEY and HOLDFAST_SECRET_KEY"
    else:
        kept = f"kept in {credentials.origin} for the next start"
    grids = ", ".join(f"{grid.name} ({grid.url})" for grid in settings.grid)
    lines = [
        f"Holdfast {__version__} serves S3 at {endpoint.url}",
        "",
        f"  access key  {credentials.access_key}",
        *([f"  secret key  {secret}"] if shown else []),
        f"              {kept}",
        f"  region      {settings.server.region}",
        f"  data        {settings.data}",
        f"  grids       {grids}",
        *([f"  admin       {endpoint.admin}  (/status /metrics /healthz /readyz)"] if endpoint.admin else []),
        "",
        "Try it with aws-cli:",
        "",
        f"  export AWS_ACCESS_KEY_ID={credentials.access_key}",
        f"  export AWS_SECRET_ACCESS_KEY={secret or '…'}",
        f"  export AWS_DEFAULT_REGION={settings.server.region}",
        f"  aws --endpoint-url {endpoint.url} s3 mb s3://first",
        f"  echo hello | aws --endpoint-url {endpoint.url} s3 cp - s3://first/hello.txt",
        f"  aws --endpoint-url {endpoint.url} s3 ls s3://first",
        "  aws configure set default.s3.signature_version s3v4   # for: aws s3 presign",
        "",
        "or with boto3:",
        "",
        # At the margin: Python takes no indented line.
        "import boto3",
        "from botocore.config import Config",
        f's3 = boto3.client("s3", endpoint_url="{endpoint.url}", region_name="{settings.server.region}",',
        f'                  aws_access_key_id="{credentials.access_key}",',
        f'                  aws_secret_access_key="{secret or "…"}",',
        '                  config=Config(signature_version="s3v4"))  # Presigned URLs are made with SigV2 otherwise.',
        's3.create_bucket(Bucket="second")',
        's3.put_object(Bucket="second", Key="hello.txt", Body=b"hello")',
        'print(s3.get_object(Bucket="second", Key="hello.txt")["Body"].read())',
        "",
        "Ctrl-C stops it; what was acknowledged is kept.",
    ]
    return "\n".join(lines)
