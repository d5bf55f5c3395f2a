"""An `azure` grid whose provider is away, hangs, forgets or refuses: at Azurite, killed, frozen and emptied."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from holdfast.config.notation import Secret
from holdfast.errors import GridError, Reason, Refused, Unavailable, Uncertain
from holdfast.grids.grid import Grid, Label, Staged
from holdfast.grids.obstore.access import AzureAccess
from holdfast.grids.obstore.grid import ObstoreGrid
from holdfast.grids.obstore.names import read_place
from holdfast.grids.obstore.providers import AZURE
from holdfast.grids.obstore.store import Account
from holdfast.limits import MIB, S3_RELOAD_S
from holdfast.model import Place
from holdfast.testing.contract.check import Streamed, label, pattern, put, read
from holdfast.wrappers.deadline import DeadlineGrid
from tests import emulators
from tests.contract.test_azure_grids import azure_grid
from tests.promises.troubled import LeapClock

pytestmark = pytest.mark.skipif(bool(emulators.missing()), reason=emulators.missing())
LARGE = 20 * MIB + 17


@pytest.fixture(scope="module")
def azurite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[emulators.Azurite]:
    emulator = emulators.Azurite(tmp_path_factory.mktemp("azurite"))
    try:
        emulator.start()
        yield emulator
    finally:
        emulator.close()


@asynccontextmanager
async def attached(emulator: emulators.Azurite, container: str = "") -> AsyncIterator[ObstoreGrid]:
    """A new grid in a container of its own."""
    container = container or f"c{uuid.uuid4().hex[:12]}"
    emulator.create(container)
    grid = azure_grid(f"azure://{container}", emulator.endpoint)
    await grid.attach("")
    try:
        yield grid
    finally:
        await grid.close()


async def stage(grid: Grid, data: bytes, tag: Label | None = None, *, key: str = "large") -> Staged:
    return await grid.stage(Place("bucket", key), Streamed(data), tag or label())


async def failure(operation: object) -> GridError:
    try:
        await operation  # type: ignore[misc]
    except GridError as error:
        return error
    raise AssertionError("it did not fail")


def test_a_large_body_is_invisible_until_it_is_published(azurite: emulators.Azurite) -> None:
    async def run() -> None:
        async with attached(azurite) as grid:
            data, tag = pattern(LARGE), label(colour="blau")
            staged = await stage(grid, data, tag)
            assert await grid.list("bucket") == ()
            assert (await failure(grid.head(Place("bucket", "large")))).outcome == "refused"
            etag = await grid.publish(staged)
            held = await grid.head(Place("bucket", "large"))
            assert (held.etag, held.size, held.label) == (etag, LARGE, tag)
            assert await read(grid, "bucket", "large", if_match=etag) == data
            await grid.discard(await stage(grid, pattern(LARGE, 2)))
            assert await read(grid, "bucket", "large", if_match=etag) == data

    asyncio.run(run())


def test_two_uploads_to_one_key_are_never_mixed(azurite: emulators.Azurite) -> None:
    """Azure drops the second's blocks that were there when the first was published. Those that were still on their way may suffice."""

    async def run() -> None:
        async with attached(azurite) as grid:
            one, other = pattern(LARGE, 1), pattern(LARGE, 2)
            first, second = await stage(grid, one), await stage(grid, other)
            await grid.publish(first)
            assert await read(grid, "bucket", "large") == one
            try:
                await grid.publish(second)
                wanted = other
            except Unavailable as error:
                assert not error.lasting
                wanted = one
            assert await read(grid, "bucket", "large") == wanted
            await grid.publish(await stage(grid, other))
            assert await read(grid, "bucket", "large") == other

    asyncio.run(run())


def test_packed_bodies_are_not_unpacked(azurite: emulators.Azurite) -> None:
    async def run() -> None:
        async with attached(azurite) as grid:
            system = {"content-encoding": "gzip", "content-type": "text/plain", "cache-control": "no-store"}
            tag = Label(seq=1, etag="e", modified_ms=1, system=system, user={})
            data = pattern(100_000)
            await put(grid, "bucket", "packed", data, tag)
            assert await read(grid, "bucket", "packed") == data
            assert (await grid.head(Place("bucket", "packed"))).label == tag

    asyncio.run(run())


def test_a_provider_that_vanishes_is_a_silence_and_comes_back(tmp_path: Path) -> None:
    emulator = emulators.Azurite(tmp_path)

    async def run() -> None:
        async with attached(emulator) as grid:
            etag = await put(grid, "bucket", "key", b"here")
            waiting = await grid.stage(Place("bucket", "next"), Streamed(b"next"), label())
            emulator.stop()
            operations = (
                grid.head(Place("bucket", "key")), grid.get(Place("bucket", "key")), grid.list("bucket"), grid.attach("x"),
            )  # fmt: skip
            for operation in operations:
                error = await failure(operation)
                assert isinstance(error, Unavailable)
                assert not error.lasting
            for change in (grid.publish(waiting), grid.delete(Place("bucket", "key"))):
                assert isinstance(await failure(change), Unavailable | Uncertain)
            emulator.start()
            assert await read(grid, "bucket", "key", if_match=etag) == b"here"
            await grid.publish(waiting)
            assert await read(grid, "bucket", "next") == b"next"

    try:
        emulator.start()
        asyncio.run(run())
    finally:
        emulator.close()


def test_a_provider_that_hangs_is_left_at_the_deadline_and_close_does_not_wait(tmp_path: Path) -> None:
    emulator = emulators.Azurite(tmp_path)

    async def run() -> None:
        async with attached(emulator) as inner:
            grid = DeadlineGrid(inner, deadline_s=0.5)
            await put(grid, "bucket", "key", b"here")
            waiting = await grid.stage(Place("bucket", "next"), Streamed(b"next"), label())
            os.kill(emulator.pid, signal.SIGSTOP)
            assert isinstance(await failure(grid.get(Place("bucket", "key"))), Unavailable)
            assert isinstance(await failure(grid.publish(waiting)), Uncertain)
            assert isinstance(await failure(grid.delete(Place("bucket", "key"))), Uncertain)
            async with asyncio.timeout(5):
                await inner.close()
            error = await failure(inner.head(Place("bucket", "key")))
            assert isinstance(error, Unavailable)
            assert error.shielded

    try:
        emulator.start()
        asyncio.run(run())
    finally:
        emulator.close()


def test_a_missing_container_is_told_and_never_an_absence(azurite: emulators.Azurite) -> None:
    async def run() -> None:
        grid = azure_grid("azure://never-made", azurite.endpoint)
        error = await failure(grid.attach(""))
        assert isinstance(error, Unavailable)
        assert error.lasting
        assert 'the container "never-made" does not exist' in error.detail
        async with attached(azurite, "soon-gone") as grid:
            await put(grid, "bucket", "key", b"here")
            azurite.remove("soon-gone")
            for operation in (grid.head(Place("bucket", "key")), grid.get(Place("bucket", "key")), grid.list("bucket")):
                assert isinstance(await failure(operation), Unavailable)

    asyncio.run(run())


def test_a_wrong_key_is_a_lasting_fault_with_its_remedy(azurite: emulators.Azurite) -> None:
    async def run() -> None:
        grid = azure_grid("azure://any", azurite.endpoint, key="d3Jvbmc=")
        error = await failure(grid.attach(""))
        assert isinstance(error, Unavailable)
        assert error.lasting
        assert "account_key" in error.detail

    asyncio.run(run())


def test_a_key_that_is_replaced_in_its_file_is_taken(azurite: emulators.Azurite, tmp_path: Path) -> None:
    async def run() -> None:
        azurite.create("keyed")
        clock, file = LeapClock(), tmp_path / "key"
        file.write_text("d3Jvbmc=\n")
        access = AzureAccess(emulators.ACCOUNT, account_key=Secret(f"file:{file}"), endpoint=azurite.endpoint)
        account = Account(AZURE, access, clock=clock, grid="grid")
        grid = ObstoreGrid("grid", read_place("azure://keyed", AZURE), account, clock=clock)
        assert isinstance(await failure(grid.attach("")), Unavailable)
        file.write_text(f"{emulators.ACCOUNT_KEY}\n")
        clock.leap(S3_RELOAD_S + 1)
        await grid.attach("")
        file.unlink()
        clock.leap(S3_RELOAD_S + 1)
        error = await failure(grid.attach(""))
        assert isinstance(error, Unavailable)
        assert error.lasting
        await grid.close()

    asyncio.run(run())


def test_a_place_in_use_is_told_whose_it_is(azurite: emulators.Azurite) -> None:
    async def run() -> None:
        async with attached(azurite, "shared") as grid:
            other = azure_grid("azure://shared", azurite.endpoint, name="other")
            error = await failure(other.attach(""))
            assert isinstance(error, Refused)
            assert error.reason is Reason.DENIED
            assert 'the place of grid "grid"' in error.detail
            await put(grid, "bucket", "key", b"x")
            assert "it belongs to another index" in (await failure(other.attach(""))).detail

    asyncio.run(run())


def test_a_read_that_is_cut_off_gives_a_beginning_and_an_error(tmp_path: Path) -> None:
    emulator = emulators.Azurite(tmp_path)

    async def run() -> None:
        async with attached(emulator) as grid:
            data = pattern(LARGE)
            await grid.publish(await stage(grid, data))
            download = await grid.get(Place("bucket", "large"))
            got = bytearray()
            with pytest.raises(GridError) as cut:
                async for piece in download.stream():
                    if not got:
                        emulator.kill()
                    got += piece
            assert isinstance(cut.value, Unavailable)
            assert 0 < len(got) < LARGE
            assert data.startswith(bytes(got))
            await download.close()

    try:
        emulator.start()
        asyncio.run(run())
    finally:
        emulator.close()


def test_a_certificate_that_nobody_trusts_is_a_lasting_fault_until_tls_ca_names_it(tmp_path: Path) -> None:
    emulator = emulators.SecureAzurite(tmp_path)

    async def run() -> None:
        strange = azure_grid("azure://never-made", emulator.endpoint)
        error = await failure(strange.attach(""))
        assert isinstance(error, Unavailable)
        assert error.lasting
        assert "tls_ca" in error.detail
        known = azure_grid("azure://never-made", emulator.endpoint, tls_ca=tmp_path / "localhost.pem")
        assert "does not exist" in (await failure(known.attach(""))).detail
        await known.close()

    try:
        emulator.start()
        asyncio.run(run())
    finally:
        emulator.close()


def test_an_object_of_somebody_else_that_cannot_be_listed_is_told(azurite: emulators.Azurite) -> None:
    async def run() -> None:
        async with attached(azurite, "visited") as grid:
            await put(grid, "bucket", "key", b"x")
            azurite.put("visited", "bucket/a//b", b"foreign")
            error = await failure(grid.list("bucket"))
            assert isinstance(error, Unavailable)
            assert error.lasting
            assert "whose name cannot be listed" in error.detail
            assert await read(grid, "bucket", "key") == b"x"

    asyncio.run(run())


def test_certify_finds_azurite_good_and_leaves_nothing(azurite: emulators.Azurite) -> None:
    azurite.create("trial")
    program = Path(sys.executable).parent / "holdfast"
    command = [
        str(program),
        "certify",
        "azure://trial",
        "--endpoint",
        azurite.url,
        "--account",
        emulators.ACCOUNT,
        "--json",
    ]
    told = subprocess.run(
        [*command, "--account-key", "env:EMULATOR_KEY"],
        env={"PATH": os.defpath, "EMULATOR_KEY": emulators.ACCOUNT_KEY},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert told.returncode == 0, told.stderr
    findings = json.loads(told.stdout)["findings"]
    assert {finding["outcome"] for finding in findings} == {"kept"}
    azurite.remove("trial")
