"""The gateway under test: `holdfast serve` as an operator runs it, with S3 grids, and what it says of itself.

Answers for its configuration, its life, and for names that only it knows: with `Names` its hosts resolve by a file of the
laboratory's, in a mount namespace of its own, so that a name can vanish while it runs. It never looks inside.
"""

import asyncio
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from holdfast.clock import Clock
from holdfast.model import Value, from_json
from holdfast.serve.status import Status
from holdfast.testing.lab.network.certificates import AUTHORITY
from holdfast.testing.lab.network.client import Client, Keys
from holdfast.testing.lab.network.http import HEAD_BYTES, read_message
from holdfast.testing.lab.processes import HOLDFAST, Process, free_port

KEYS: Final = Keys("laboratory-access", "laboratory-secret-key")
STORE: Final = "store"
"""The bucket at each provider, in which the clients' bucket is a directory."""
FROM_GRIDS: Final = '[cache]\nsize = "0"\ninline = "0"\n'
"""Settings with which nothing is kept here that all grids hold: every read has to come from a grid."""
_ASK_S: Final = 10.0
_MOUNT: Final = 'mount --bind "$0/hosts" /etc/hosts && mount --bind "$0/nsswitch.conf" /etc/nsswitch.conf && exec "$@"'


class GridAt(Value, frozen=True):
    """Where the gateway finds one grid."""

    name: str
    endpoint: str
    keys: Keys
    provider: str
    """Its row in the table of quirks."""


class Names:
    """Host names below `holdfast.test` that one process resolves, and that can vanish."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._there: set[str] = set()
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "nsswitch.conf").write_text("hosts: files\n")
        self._write()

    @staticmethod
    def available() -> bool:
        """Whether this user may give a process a mount namespace."""
        if shutil.which("unshare") is None:
            return False
        done = subprocess.run([*_unshare("true")], capture_output=True, timeout=10, check=False)
        return done.returncode == 0

    def set(self, name: str, there: bool) -> None:
        """Let a name have the address of this machine, or none."""
        (self._there.add if there else self._there.discard)(name)
        self._write()

    def prefix(self) -> tuple[str, ...]:
        """What a command line begins with for its process to see these names."""
        return _unshare("sh", "-c", _MOUNT, str(self._folder))

    def _write(self) -> None:
        lines = [f"127.0.0.1 {name}.holdfast.test\n" for name in sorted(self._there)]
        # In place: the mount is of this file, not of its name.
        with (self._folder / "hosts").open("w") as file:
            file.write("".join(["127.0.0.1 localhost\n", *lines]))


def _unshare(*command: str) -> tuple[str, ...]:
    return ("unshare", "--mount", "--map-root-user", *command)


class Gateway:
    """One gateway process."""

    def __init__(
        self,
        folder: Path,
        grids: Sequence[GridAt],
        *,
        clock: Clock,
        settings: str = FROM_GRIDS,
        names: Names | None = None,
    ) -> None:
        self.port = free_port()
        self._admin = free_port()
        self._folder = folder
        self._grids = grids
        self._settings = settings
        self._names = names
        self._clock = clock
        self._process = Process("gateway", folder=folder, clock=clock)

    async def start(self) -> None:
        """Return when it serves. Raises NotStarted."""
        self._folder.mkdir(parents=True, exist_ok=True)
        config = self._folder / "holdfast.toml"
        config.write_text(self.configuration())
        (self._folder / "authority.pem").write_text(AUTHORITY)
        prefix = self._names.prefix() if self._names is not None else ()
        environment = {"HOLDFAST_ACCESS_KEY": KEYS.access, "HOLDFAST_SECRET_KEY": KEYS.secret}
        command = [*prefix, *HOLDFAST, "serve", "--config", str(config)]
        await self._process.start(command, environment, [self.port, self._admin])

    def client(self) -> Client:
        return Client(self.port, KEYS, clock=self._clock)

    async def status(self) -> Status:
        """How it says that it is doing. Raises OSError."""
        async with asyncio.timeout(_ASK_S):
            reader, writer = await asyncio.open_connection("127.0.0.1", self._admin, limit=HEAD_BYTES)
            try:
                writer.write(b"GET /status HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
                reply = await read_message(reader, asked="GET")
            finally:
                writer.close()
        if reply is None:
            raise ConnectionResetError("the admin listener closed the connection")
        return from_json(reply.content, Status)

    async def end(self) -> None:
        await self._process.end()

    def log(self) -> str:
        """The end of what it wrote."""
        return self._process.log()

    def configuration(self) -> str:
        """Its TOML."""
        grids = "".join(map(self._grid, self._grids))
        return (
            f'data = "{self._folder / "data"}"\n'
            f'[server]\nlisten = "127.0.0.1:{self.port}"\nadmin = "127.0.0.1:{self._admin}"\n{self._settings}{grids}'
        )

    def _grid(self, grid: GridAt) -> str:
        authority = f'tls_ca = "{self._folder / "authority.pem"}"\n' if grid.endpoint.startswith("https:") else ""
        return (
            f'[[grid]]\nname = "{grid.name}"\nurl = "s3://{STORE}"\nendpoint = "{grid.endpoint}"\n'
            f'provider = "{grid.provider}"\nstyle = "path"\nregion = "us-east-1"\naccess_key = "{grid.keys.access}"\nsecret_key = "{grid.keys.secret}"\n{authority}'
        )
