"""Where a grid's keys come from, and when to look again.

Answers for keys that are as fresh as their source: files are read again when they change, keys that expire are replaced
before they do. It never prints a secret. Invariant: once keys were had, a source that fails gives the last ones until
they expire.
"""

import asyncio
import configparser
import os
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Final, Protocol

from holdfast.clock import Clock
from holdfast.config.notation import Secret, Unreadable, read_secret
from holdfast.grids.s3.replies import iso_ms
from holdfast.limits import S3_EXPIRY_S, S3_RELOAD_S
from holdfast.model import DecodeError, Value, from_json

_IMDS: Final = "http://169.254.169.254"
_CONTAINER: Final = "http://169.254.170.2"
_IMDS_TOKEN_S: Final = "21600"


class NoKeys(Exception):
    """There are no keys to sign with. Says why, and what to do."""


class Keys(Value, frozen=True):
    """What requests are signed with."""

    access_key: str
    secret_key: Secret
    session_token: Secret = Secret("")
    expires_ms: int | None = None


class KeySource(Protocol):
    """A place that has keys."""

    async def keys(self) -> Keys:
        """The keys now. Cheap enough for every request. Raises NoKeys."""
        ...

    def refused(self) -> None:
        """The provider refused the present keys: look again before the next request."""
        ...


Fetch = Callable[[str, str, Mapping[str, str]], Awaitable[tuple[int, bytes]]]
"""`fetch(method, url, headers)`: status and body. Raises OSError when nobody answers."""


class _Files:
    """Files whose change is worth another look."""

    def __init__(self, paths: tuple[Path, ...]) -> None:
        self._paths = paths
        self._seen: tuple[tuple[int, int] | None, ...] = ()

    def changed(self) -> bool:
        seen = tuple(map(_stamp, self._paths))
        if seen == self._seen:
            return False
        self._seen = seen
        return True


def _stamp(path: Path) -> tuple[int, int] | None:
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_mtime_ns, status.st_ino


class StoredKeys:
    """Keys that are read from settings, variables or files by `read`, again whenever one of `files` changes."""

    def __init__(self, read: Callable[[], Keys], files: tuple[Path, ...], *, clock: Clock) -> None:
        self._read = read
        self._files = _Files(files)
        self._clock = clock
        self._keys: Keys | None = None
        self._looked_s = float("-inf")

    async def keys(self) -> Keys:
        now_s = self._clock.monotonic_s()
        if self._keys is None or now_s - self._looked_s > S3_RELOAD_S:
            self._looked_s = now_s
            if self._files.changed() or self._keys is None:
                try:
                    self._keys = await asyncio.to_thread(self._read)
                except NoKeys:
                    if self._keys is None:
                        raise
        return self._keys

    def refused(self) -> None:
        self._looked_s = float("-inf")


def setting_keys(
    access_key: str, secret_key: str, session_token: str, environ: Mapping[str, str], *, clock: Clock
) -> StoredKeys:
    """Keys as settings give them: themselves, `env:NAME` or `file:PATH`."""

    def reveal(name: str, text: str) -> Secret:
        try:
            return read_secret(text, environ) if text else Secret("")
        except Unreadable as trouble:
            raise NoKeys(f"{name}: {trouble.what} {trouble.remedy}") from trouble

    def read() -> Keys:
        return Keys(
            reveal("access_key", access_key).reveal(),
            reveal("secret_key", secret_key),
            reveal("session_token", session_token),
        )

    texts = (access_key, secret_key, session_token)
    files = tuple(Path(text.removeprefix("file:")) for text in texts if text.startswith("file:"))
    return StoredKeys(read, files, clock=clock)


def profile_path(environ: Mapping[str, str]) -> Path:
    """The file that has profiles."""
    return Path(environ.get("AWS_SHARED_CREDENTIALS_FILE") or "~/.aws/credentials").expanduser()


def profile_keys(profile: str, environ: Mapping[str, str], *, clock: Clock) -> StoredKeys:
    """Keys of a profile in the AWS credentials file."""
    path = profile_path(environ)

    def read() -> Keys:
        content = configparser.RawConfigParser()
        try:
            content.read_string(path.read_text(encoding="utf-8"))
        except (OSError, ValueError, configparser.Error) as trouble:
            raise NoKeys(f"profile: {path} cannot be read: {trouble}") from trouble
        if not content.has_section(profile):
            raise NoKeys(f'profile: {path} has no profile "{profile}"; there are: {", ".join(content.sections())}')
        section = content[profile]
        access_key, secret_key = section.get("aws_access_key_id", ""), section.get("aws_secret_access_key", "")
        if not access_key or not secret_key:
            raise NoKeys(f'profile: "{profile}" in {path} has no aws_access_key_id and aws_secret_access_key')
        return Keys(access_key, Secret(secret_key), Secret(section.get("aws_session_token", "")))

    return StoredKeys(read, (path,), clock=clock)


class _Issued(Value, frozen=True, rename="pascal"):
    """Keys as the metadata services of AWS hand them out."""

    access_key_id: str
    secret_access_key: str
    token: str = ""
    expiration: str = ""


class IssuedKeys:
    """Keys that a metadata service issues for a while: `fetch_keys` asks for them."""

    def __init__(self, fetch_keys: Callable[[], Awaitable[Keys]], *, clock: Clock) -> None:
        self._fetch = fetch_keys
        self._clock = clock
        self._keys: Keys | None = None
        self._due_s = float("-inf")
        self._turn = asyncio.Lock()

    async def keys(self) -> Keys:
        if self._keys is None or self._clock.monotonic_s() >= self._due_s:
            async with self._turn:
                await self._renew()
        assert self._keys is not None
        return self._keys

    async def _renew(self) -> None:
        now_s, now_ms = self._clock.monotonic_s(), self._clock.now_ms()
        if self._keys is not None and now_s < self._due_s:
            return  # Somebody else did it while we waited.
        try:
            self._keys = await self._fetch()
        except (NoKeys, OSError) as trouble:
            if self._keys is None or (self._keys.expires_ms is not None and self._keys.expires_ms <= now_ms):
                raise NoKeys(f"the machine's role gives no keys: {trouble}; set access_key and secret_key") from trouble
            self._due_s = now_s + S3_RELOAD_S
            return
        expires_ms = self._keys.expires_ms
        left_s = float("inf") if expires_ms is None else (expires_ms - now_ms) / 1000 - S3_EXPIRY_S
        self._due_s = now_s + max(S3_RELOAD_S, left_s)

    def refused(self) -> None:
        self._due_s = min(self._due_s, self._clock.monotonic_s())


def instance_keys(fetch: Fetch, environ: Mapping[str, str], *, clock: Clock) -> IssuedKeys:
    """Keys of this machine's role, by the instance metadata service, version 2.

    Amazon EC2 User Guide, "Use the Instance Metadata Service to access instance metadata".
    """
    base = environ.get("AWS_EC2_METADATA_SERVICE_ENDPOINT", "").rstrip("/") or _IMDS
    roles = f"{base}/latest/meta-data/iam/security-credentials/"

    async def fetch_keys() -> Keys:
        headers = {"x-aws-ec2-metadata-token-ttl-seconds": _IMDS_TOKEN_S}
        token = (await _ask(fetch, "PUT", f"{base}/latest/api/token", headers)).decode("ascii", "replace")
        headers = {"x-aws-ec2-metadata-token": token}
        names = (await _ask(fetch, "GET", roles, headers)).decode("utf-8", "replace").split()
        if not names:
            raise NoKeys("this machine has no role")
        return _issued(await _ask(fetch, "GET", roles + names[0], headers))

    return IssuedKeys(fetch_keys, clock=clock)


def container_keys(fetch: Fetch, environ: Mapping[str, str], *, clock: Clock) -> IssuedKeys:
    """Keys of this container's role, by the address in its environment.

    AWS SDKs and Tools Reference Guide, "Container credential provider".
    """
    relative = environ.get("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "")
    url = _CONTAINER + relative if relative else environ.get("AWS_CONTAINER_CREDENTIALS_FULL_URI", "")

    async def fetch_keys() -> Keys:
        headers = {}
        if path := environ.get("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"):
            headers["authorization"] = (await asyncio.to_thread(Path(path).read_text, "utf-8")).strip()
        elif token := environ.get("AWS_CONTAINER_AUTHORIZATION_TOKEN"):
            headers["authorization"] = token
        return _issued(await _ask(fetch, "GET", url, headers))

    return IssuedKeys(fetch_keys, clock=clock)


async def _ask(fetch: Fetch, method: str, url: str, headers: Mapping[str, str]) -> bytes:
    status, body = await fetch(method, url, headers)
    if status != 200:
        raise NoKeys(f"{url} answered {status}")
    return body


def _issued(body: bytes) -> Keys:
    try:
        issued = from_json(body, _Issued)
    except DecodeError as trouble:
        raise NoKeys("the metadata service answered something else than keys") from trouble
    return Keys(issued.access_key_id, Secret(issued.secret_access_key), Secret(issued.token), iso_ms(issued.expiration))


def role_keys(fetch: Fetch, environ: Mapping[str, str], *, clock: Clock) -> KeySource:
    """What there is when no keys are set, in the order of the AWS SDKs: variables, the default profile, the
    container's role, the machine's role."""
    if environ.get("AWS_ACCESS_KEY_ID"):
        token = "env:AWS_SESSION_TOKEN" if environ.get("AWS_SESSION_TOKEN") else ""
        return setting_keys("env:AWS_ACCESS_KEY_ID", "env:AWS_SECRET_ACCESS_KEY", token, environ, clock=clock)
    if environ.get("AWS_PROFILE") or profile_path(environ).exists():
        return profile_keys(environ.get("AWS_PROFILE") or "default", environ, clock=clock)
    if environ.get("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI") or environ.get("AWS_CONTAINER_CREDENTIALS_FULL_URI"):
        return container_keys(fetch, environ, clock=clock)
    return instance_keys(fetch, environ, clock=clock)
