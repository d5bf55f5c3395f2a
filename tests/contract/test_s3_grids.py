"""`s3` grids keep the contract of `Grid`, at servers that are not ours as well as at our own."""

import asyncio
import uuid
from collections.abc import Iterator

import pytest

from holdfast.testing.contract import CHECKS, Check, NotApplicable
from tests.contract.test_grids import Places
from tests.providers import HoldfastProvider, Provider, RcloneProvider, s3_grid


@pytest.fixture(scope="module")
def holdfast(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Provider]:
    provider = HoldfastProvider(tmp_path_factory.mktemp("holdfast"))
    try:
        provider.start()
        yield provider
    finally:
        provider.close()


@pytest.fixture(scope="module")
def rclone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Provider]:
    provider = RcloneProvider(tmp_path_factory.mktemp("rclone"))
    try:
        provider.start()
        yield provider
    finally:
        provider.close()


def _fresh(template: str) -> str:
    return template.replace("*", uuid.uuid4().hex[:12])


def _keeps(check: Check, provider: Provider, template: str) -> None:
    url = _fresh(template)
    places = Places(lambda: s3_grid(url, provider.url, row=provider.row))
    try:
        asyncio.run(check.run(places))
    except NotApplicable as reason:
        pytest.skip(str(reason))


@pytest.mark.parametrize("check", CHECKS, ids=repr)
@pytest.mark.parametrize("template", ["s3://fixed-*", "s3://fixed-*/some/prefix", "s3://own-*-{bucket}"])
def test_s3_at_holdfast_keeps_the_contract(check: Check, template: str, holdfast: Provider) -> None:
    _keeps(check, holdfast, template)


RCLONE_LACKS = {
    "hard_keys_are_kept": "its directory can hold `.holdfast` or `.holdfast/identity`, not both",
    "a_key_may_be_the_beginning_of_another": "its directory can hold `a` or `a/b`, not both",
    "delete_spares_the_neighbours": "its directory can hold `a` or `a/b`, not both",
    "many_at_once_all_arrive": "it answers 500 now and then when directories are made and removed at the same time",
    "readers_and_writers_do_not_mix": "it breaks off reads of a file that is being replaced: an error, never a mixture",
    "lists_are_in_byte_order": "its directory can hold `a` or `a/x`, not both",
}
"""What rclone's server cannot keep over a directory: it gives keys to the file system as they are, and reads files that change."""


@pytest.mark.parametrize("check", CHECKS, ids=repr)
def test_s3_at_rclone_keeps_the_contract(check: Check, rclone: Provider) -> None:
    if reason := RCLONE_LACKS.get(check.name):
        pytest.skip(reason)
    _keeps(check, rclone, "s3://fixed-*")
