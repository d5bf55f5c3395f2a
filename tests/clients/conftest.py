"""Two gateways for the whole session (http and https), and what every client needs to reach them.

Every test of a client runs over both, because SDKs change their framing with TLS. Each process of pytest has its own
gateways, so tests may be distributed. When a test fails, what the gateway logged meanwhile is shown with it.
"""

import functools
import os
import secrets
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import botocore.config
import pytest

from tests.clients.browser import Browser
from tests.clients.content import standard_library
from tests.clients.programs import environment
from tests.clients.server import ACCESS_KEY, REGION, SECRET_KEY, Endpoint, Server

SCHEMES = ("http", "https")


@pytest.fixture(scope="session")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Server]]:
    """The gateway of a scheme, started when it is first asked for."""
    running: dict[str, Server] = {}

    def server(scheme: str) -> Server:
        if scheme not in running:
            started = Server(tmp_path_factory.mktemp(f"holdfast-{scheme}"), scheme)
            started.start()
            running[scheme] = started
        return running[scheme]

    try:
        yield server
        codes = {scheme: started.stop() for scheme, started in running.items()}
        assert all(code == 0 for code in codes.values()), f"exit codes of a graceful stop: {codes}"
    finally:
        for started in running.values():
            started.kill()


@pytest.fixture(scope="session", autouse=True)
def _nothing_of_this_user(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Clients that run inside pytest must not find this user's credentials, settings or proxies."""
    home = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        for name in list(os.environ):
            if name.startswith("AWS_") or name.lower().endswith("_proxy"):
                patch.delenv(name)
        patch.setenv("HOME", str(home))
        patch.setenv("AWS_CONFIG_FILE", str(home / "aws-config"))
        patch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(home / "aws-credentials"))
        patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        yield


@pytest.fixture(params=SCHEMES)
def server(request: pytest.FixtureRequest, servers: Callable[[str], Server]) -> Server:
    """The running gateway, once over each scheme."""
    found = servers(request.param)
    request.node.stash[_SERVER] = (found, found.log_bytes())
    return found


@pytest.fixture
def endpoint(server: Server) -> Endpoint:
    return server.endpoint


@pytest.fixture
def browser(endpoint: Endpoint) -> Browser:
    return Browser(endpoint)


@functools.cache
def _boto3(endpoint: Endpoint, access_key: str, secret_key: str, signature: str | None = None) -> Any:
    settings = botocore.config.Config(
        signature_version=signature,
        s3={"addressing_style": "path"},
        retries={"total_max_attempts": 1},
        max_pool_connections=16,
        read_timeout=60,
    )
    return boto3.session.Session().client(
        "s3",
        endpoint_url=endpoint.url,
        region_name=REGION,
        aws_access_key_id=access_key,
        aws_secret_access_key=secret_key,
        verify=endpoint.ca if endpoint.secure else None,
        config=settings,
    )


@pytest.fixture
def s3(endpoint: Endpoint) -> Any:
    """boto3's client, which never tries twice: an answer that a retry would hide is a failure."""
    return _boto3(endpoint, ACCESS_KEY, SECRET_KEY)


@pytest.fixture
def signed_by(endpoint: Endpoint) -> Callable[..., Any]:
    """boto3's client with another key pair."""
    return functools.partial(_boto3, endpoint)


@pytest.fixture
def signer(endpoint: Endpoint) -> Any:
    """boto3's client that makes presigned URLs: left to itself it signs those, and only those, with version 2."""
    return _boto3(endpoint, ACCESS_KEY, SECRET_KEY, "s3v4")


@pytest.fixture
def new_bucket(s3: Any) -> Callable[[], str]:
    def create() -> str:
        name = f"clients-{secrets.token_hex(8)}"
        s3.create_bucket(Bucket=name)
        return name

    return create


@pytest.fixture
def bucket(new_bucket: Callable[[], str]) -> str:
    """A bucket of the test's own."""
    return new_bucket()


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A client's home directory."""
    path = tmp_path / "home"
    path.mkdir()
    return path


@pytest.fixture
def env(endpoint: Endpoint, home: Path) -> dict[str, str]:
    """The environment of a client's process."""
    return environment(endpoint, home)


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A real tree: the standard library, a few thousand small files."""
    return standard_library(tmp_path_factory.mktemp("tree") / "library")


@pytest.fixture(scope="session")
def small_library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same without its largest part, for clients that take long for each file."""
    return standard_library(tmp_path_factory.mktemp("tree") / "library", leave_out=["test", "tests", "idlelib"])


_SERVER = pytest.StashKey[tuple[Server, int]]()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Any:
    report = yield
    if report.failed and _SERVER in item.stash:
        server, start_bytes = item.stash[_SERVER]
        report.sections.append((f"log of the gateway ({server.endpoint.scheme})", server.tail(start_bytes)))
    return report
