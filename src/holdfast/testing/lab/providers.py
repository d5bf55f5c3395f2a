"""Providers: S3 servers in processes of their own, as different from each other as independent providers are.

Answers for starting them with a bucket, killing them, and losing what they hold. One kind is Holdfast's own endpoint with
a single folder, the other is `rclone serve s3`, which others wrote. Invariant: a provider that was not told
to lose its data has it again after any death.
"""

import shutil
import sys
from pathlib import Path
from typing import Final, Literal, assert_never

from holdfast.clock import Clock
from holdfast.testing.lab.network.client import Client, Keys
from holdfast.testing.lab.processes import HOLDFAST, NotStarted, Process, free_port

Make = Literal["holdfast", "rclone"]
MAKES: Final[tuple[Make, ...]] = ("holdfast", "rclone")


def find_rclone() -> str:
    """The program `rclone` beside this Python or on the path; empty when there is none."""
    beside = Path(sys.executable).with_name("rclone")
    return str(beside) if beside.exists() else shutil.which("rclone") or ""


class Provider:
    """One S3 server."""

    def __init__(self, name: str, make: Make, *, folder: Path, bucket: str, clock: Clock) -> None:
        self.name = name
        self.make: Make = make
        self.keys = Keys(f"{name}-access", f"{name}-secret-key")
        self.port = 0
        self._folder = folder
        self._bucket = bucket
        self._clock = clock
        self._process = Process(f"provider-{name}", folder=folder, clock=clock)

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def running(self) -> bool:
        return self._process.running

    async def start(self) -> None:
        """Start it, where it was before, and see to it that the bucket is there. Raises NotStarted."""
        self.port = self.port or free_port()
        (self._folder / "disk").mkdir(parents=True, exist_ok=True)
        match self.make:
            case "holdfast":
                config = self._folder / "provider.toml"
                config.write_text(
                    f'data = "{self._folder / "data"}"\n[server]\nlisten = "127.0.0.1:{self.port}"\nadmin = ""\n'
                    f'[[grid]]\nname = "disk"\nurl = "folder:{self._folder / "disk"}"\n'
                )
                environment = {"HOLDFAST_ACCESS_KEY": self.keys.access, "HOLDFAST_SECRET_KEY": self.keys.secret}
                arguments = [*HOLDFAST, "serve", "--config", str(config)]
            case "rclone":
                environment = {"RCLONE_CONFIG": str(self._folder / "rclone.conf")}
                arguments = [
                    find_rclone(), "serve", "s3", "--addr", f"127.0.0.1:{self.port}",
                    "--auth-key", f"{self.keys.access},{self.keys.secret}", str(self._folder / "disk"),
                ]  # fmt: skip
            case _:
                assert_never(self.make)
        await self._process.start(arguments, environment, [self.port])
        client = self.client()
        reply = await client.ask("PUT", f"/{self._bucket}")
        client.close()
        if reply.status not in (200, 409):
            raise NotStarted(f"provider {self.name} has no bucket: {reply.first} {reply.content.decode()}")

    def client(self) -> Client:
        """A client that asks this provider itself, past every proxy."""
        return Client(self.port, self.keys, clock=self._clock)

    async def kill(self) -> None:
        """As a machine dies."""
        await self._process.kill()

    async def lose(self) -> None:
        """As a site burns: the process and all data are gone."""
        await self._process.kill()
        for name in ("data", "disk"):
            shutil.rmtree(self._folder / name, ignore_errors=True)

    async def end(self) -> None:
        await self._process.end()

    def log(self) -> str:
        """The end of what it wrote."""
        return self._process.log()
