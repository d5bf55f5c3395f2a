"""`azure` grids keep the contract of `Grid`, at Microsoft's own emulator."""

import asyncio
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from holdfast.clock import SystemClock
from holdfast.config.notation import Secret
from holdfast.grids.obstore.access import AzureAccess
from holdfast.grids.obstore.grid import ObstoreGrid
from holdfast.grids.obstore.names import read_place
from holdfast.grids.obstore.providers import AZURE
from holdfast.grids.obstore.store import Account
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
