"""`gcs` grids keep the contract of `Grid`, over what the library says to Google Cloud Storage's XML API.

No emulator of that API is to be had: the stand-in renames headers before one of our own endpoints.
"""

import asyncio
import json
import uuid
from collections.abc import Iterator

import pytest

from holdfast.clock import SystemClock
from holdfast.config.notation import Secret
from holdfast.grids.obstore.access import GcsAccess
from holdfast.grids.obstore.grid import ObstoreGrid
from holdfast.grids.obstore.names import read_place
from holdfast.grids.obstore.providers import GCS
from holdfast.grids.obstore.store import Account
from holdfast.testing.contract import CHECKS, Check, NotApplicable
from tests.contract.test_grids import Places
from tests.googlelike import GoogleLike, make_bucket
from tests.providers import HoldfastProvider, Provider

CLOCK = SystemClock()


@pytest.fixture(scope="module")
def provider(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Provider]:
    provider = HoldfastProvider(tmp_path_factory.mktemp("holdfast"))
    try:
        provider.start()
        yield provider
    finally:
        provider.close()


@pytest.fixture(scope="module")
def google(provider: Provider) -> Iterator[GoogleLike]:
    stand_in = GoogleLike(provider)
    yield stand_in
    stand_in.close()


def gcs_grid(url: str, endpoint: str) -> ObstoreGrid:
    key = {"gcs_base_url": endpoint, "disable_oauth": True, "client_email": "", "private_key": "", "private_key_id": ""}
    access = GcsAccess(Secret(json.dumps(key)), endpoint=endpoint)
    return ObstoreGrid("grid", read_place(url, GCS), Account(GCS, access, clock=CLOCK, grid="grid"), clock=CLOCK)


@pytest.mark.parametrize("check", CHECKS, ids=repr)
@pytest.mark.parametrize("template", ["gcs://*/some/prefix"])
def test_gcs_keeps_the_contract(check: Check, template: str, provider: Provider, google: GoogleLike) -> None:
    fresh = f"c{uuid.uuid4().hex[:12]}"
    make_bucket(provider, fresh)
    places = Places(lambda: gcs_grid(template.replace("*", fresh), google.url))
    try:
        asyncio.run(check.run(places))
    except NotApplicable as reason:
        pytest.skip(str(reason))
