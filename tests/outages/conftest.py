"""Gateways for tests of outages: each test has its own, and none outlives it."""

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.outages.gateway import Gateway
from tests.outages.workload import Workload

Make = Callable[..., tuple[Gateway, Workload]]


@pytest.fixture(scope="session", autouse=True)
def _nothing_of_this_user(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """boto3 must not find this user's credentials, settings or proxies."""
    home = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        for name in list(os.environ):
            if name.startswith("AWS_") or name.lower().endswith("_proxy"):
                patch.delenv(name)
        patch.setenv("AWS_CONFIG_FILE", str(home / "aws-config"))
        patch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(home / "aws-credentials"))
        patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        yield


@pytest.fixture
def cleanup() -> Iterator[ExitStack]:
    """What is entered here ends after the gateways of the test."""
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def prepare(cleanup: ExitStack, tmp_path: Path) -> Iterator[Make]:
    """A gateway that was not started, and its clients."""
    made: list[Gateway] = []

    def prepare(settings: str = '[cache]\ninline = "0"\n', *, workers: int = 1) -> tuple[Gateway, Workload]:
        gateway = Gateway(tmp_path / f"node{len(made)}", settings=settings, workers=workers)
        made.append(gateway)
        return gateway, Workload(gateway)

    try:
        yield prepare
    finally:
        for gateway in made:
            gateway.kill()


@pytest.fixture
def run(prepare: Make) -> Make:
    """A gateway that serves, with a bucket, and its clients. Bodies that all grids hold do not stay in the index."""

    def run(settings: str = '[cache]\ninline = "0"\n', *, workers: int = 1) -> tuple[Gateway, Workload]:
        gateway, workload = prepare(settings, workers=workers)
        gateway.start()
        workload.create_bucket()
        return gateway, workload

    return run
