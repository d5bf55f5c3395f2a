"""`azure` grids keep the contract of `Grid`, at Microsoft's own emulator."""

import asyncio
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from holdfast.clock import SystemClock
from holdfast.config.notation import Secret
from holdfast.errors import Unavailable
from holdfast.grids.grid import Label
from holdfast.grids.obstore.access import AzureAccess
from holdfast.grids.obstore.grid import ObstoreGrid
from holdfast.grids.obstore.names import read_place
from holdfast.grids.obstore.providers import AZURE
from holdfast.grids.obstore.store import Account
from holdfast.grids.sources import BytesSource
from holdfast.model import Place
from holdfast.testing.contract import CHECKS, Check, NotApplicable
from tests import emulators
from tests.contract.test_grids import Places

CLOCK = SystemClock()
pytestmark = pytest.mark.skipif(bool(emulators.missing()), reason=emulators.missing())


@pytest.fixture(scope="module")
def azurite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[emulators.Azurite]:
    emulator = emulators.Azurite(tmp_path_factory.mktemp("azurite"))
    try:
        emulator.start()
        yield emulator
    finally:
        emulator.close()


def azure_grid(
    url: str, endpoint: str, *, name: str = "grid", key: str = emulators.ACCOUNT_KEY, tls_ca: Path | None = None
) -> ObstoreGrid:
    access = AzureAccess(emulators.ACCOUNT, account_key=Secret(key), endpoint=endpoint, tls_ca=tls_ca)
    return ObstoreGrid(name, read_place(url, AZURE), Account(AZURE, access, clock=CLOCK, grid=name), clock=CLOCK)


@pytest.mark.parametrize("check", CHECKS, ids=repr)
@pytest.mark.parametrize("template", ["azure://*", "azure://*/some/prefix", "azure://*-{bucket}"])
def test_azure_keeps_the_contract(check: Check, template: str, azurite: emulators.Azurite) -> None:
    fresh = f"c{uuid.uuid4().hex[:12]}"
    if "{" in template:
        azurite.create(f"{fresh}-holdfast")
        azurite.create(f"{fresh}-contract")
    else:
        azurite.create(fresh)
    url = template.replace("*", fresh)
    places = Places(lambda: azure_grid(url, azurite.endpoint))
    try:
        asyncio.run(check.run(places))
    except NotApplicable as reason:
        pytest.skip(str(reason))


def test_a_container_that_came_back_empty_under_writes_is_known_by_their_labels(azurite: emulators.Azurite) -> None:
    container = f"c{uuid.uuid4().hex[:12]}"
    azurite.create(container)

    async def scene() -> None:
        grid = azure_grid(f"azure://{container}", azurite.endpoint)
        known = await grid.attach(await grid.attach(""))
        label = Label(1, "e", 1, {"content-type": "image/png"}, {"who": "me"})
        began_ms = CLOCK.now_ms() - 2000
        for key in ("a b", "ä//"):
            await grid.publish(await grid.stage(Place("photos", key), BytesSource(b"x"), label))
        marks = grid._identity._marks
        await marks.remove()
        with pytest.raises(Unavailable, match="it is empty but for what was written since"):
            await grid.attach(known)
        for name in await marks.names(limit=10):
            assert await marks.is_fresh(name, began_ms)
            assert not await marks.is_fresh(name, CLOCK.now_ms() + 60_000), "it is older"
        assert len(await marks.names(limit=10)) == 2
        assert len(await marks.names(limit=1)) == 1
        await grid.close()
        late = azure_grid(f"azure://{container}", azurite.endpoint)
        with pytest.raises(Unavailable, match="remove all objects there"):
            await late.attach(known)
        await late.close()

    asyncio.run(scene())
