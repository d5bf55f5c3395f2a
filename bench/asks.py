"""Requests as bytes, built and signed before anything is measured, and what the right reply to each is.

Answers for requests that look like those of an SDK. It opens no socket. Invariant: whatever is sent while the clock
runs was signed before it ran.
"""

import hashlib
import time
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from holdfast.signing import UNSIGNED_PAYLOAD, canonical_query, encode_path, presign, sign_headers

REGION = "us-east-1"
EMPTY_SHA256 = hashlib.sha256(b"").hexdigest()
_EXPIRES_S = 3600
_LIKE_AN_SDK = {
    "accept-encoding": "identity",
    "user-agent": "Boto3/1.40.0 md/Botocore#1.40.0 ua/2.1 os/linux#6.1 md/arch#x86_64 lang/python#3.11.7",
    "amz-sdk-invocation-id": "0f2d1c1e-6b0e-4a52-9a0e-8a4f6f2c9a11",
    "amz-sdk-request": "attempt=1",
}
"""Headers that SDKs send and do not sign."""


class Ask(NamedTuple):
    """One request and its right reply."""

    head: bytes
    """Everything up to the body, and a small body."""
    status: int
    body: memoryview | None = None
    """A large body, which is not copied behind the head."""
    size: int | None = None
    """Bytes of the reply's body, or of what Content-Length says of it in a reply to HEAD; None: any."""
    content: bytes | None = None
    """The reply's body, where it is short enough to be compared each time."""
    silent: bool = False
    """The reply has no body, whatever its Content-Length says (HEAD)."""


class Account(NamedTuple):
    """Who asks, and where."""

    address: tuple[str, int]
    access_key: str
    secret_key: str

    @property
    def host(self) -> str:
        return f"{self.address[0]}:{self.address[1]}"

    def signed(
        self,
        method: str,
        path: str,
        *,
        query: Iterable[tuple[str, str]] = (),
        headers: Mapping[str, str] | None = None,
        payload: str = EMPTY_SHA256,
    ) -> bytes:
        """The head of a request that is signed in its headers."""
        items = list(query)
        sent = sign_headers(
            method,
            path,
            items,
            {"host": self.host, **{name: value for name, value in (headers or {}).items() if name != "content-length"}},
            payload=payload,
            access_key=self.access_key,
            secret_key=self.secret_key,
            region=REGION,
            now_ms=time.time_ns() // 1_000_000,
        )
        if headers and "content-length" in headers:
            sent["content-length"] = headers["content-length"]
        return _head(method, path, canonical_query(items), {**sent, **_LIKE_AN_SDK})

    def presigned(self, method: str, path: str) -> bytes:
        """The head of a request that is signed in its URL."""
        sent = {"host": self.host}
        query = presign(
            method,
            path,
            [],
            sent,
            expires_s=_EXPIRES_S,
            access_key=self.access_key,
            secret_key=self.secret_key,
            region=REGION,
            now_ms=time.time_ns() // 1_000_000,
        )
        return _head(method, path, query, {**sent, **_LIKE_AN_SDK})

    def get(self, path: str, content: bytes) -> Ask:
        """GetObject of a small object."""
        return Ask(self.signed("GET", path), 200, size=len(content), content=content)

    def get_presigned(self, path: str, content: bytes) -> Ask:
        """GetObject by a presigned URL."""
        return Ask(self.presigned("GET", path), 200, size=len(content), content=content)

    def head(self, path: str, size: int) -> Ask:
        """HeadObject."""
        return Ask(self.signed("HEAD", path), 200, size=size, silent=True)

    def get_large(self, path: str, size: int) -> Ask:
        """GetObject of a large object: counted, not kept."""
        return Ask(self.signed("GET", path), 200, size=size)

    def get_range(self, path: str, first: int, last: int) -> Ask:
        """GetObject of the bytes `first` to `last`, both included."""
        return Ask(self.signed("GET", path, headers={"range": f"bytes={first}-{last}"}), 206, size=last + 1 - first)

    def put(self, path: str, body: bytes, sha256: str) -> Ask:
        """PutObject of a small body, whose digest is signed."""
        head = self.signed("PUT", path, headers={"content-length": str(len(body))}, payload=sha256)
        return Ask(head + body, 200, size=0)

    def put_large(self, path: str, body: memoryview, payload: str = UNSIGNED_PAYLOAD) -> Ask:
        """PutObject of a large body; `payload` is its SHA-256, or says that it is not signed."""
        head = self.signed("PUT", path, headers={"content-length": str(len(body))}, payload=payload)
        return Ask(head, 200, body=body, size=0)

    def delete(self, path: str) -> Ask:
        """DeleteObject."""
        return Ask(self.signed("DELETE", path), 204)

    def list_objects(self, bucket: str, prefix: str, limit: int) -> Ask:
        """ListObjectsV2 of one page."""
        query = [("list-type", "2"), ("prefix", prefix), ("max-keys", str(limit)), ("encoding-type", "url")]
        return Ask(self.signed("GET", f"/{bucket}", query=query), 200)

    def create_bucket(self, bucket: str) -> Ask:
        """CreateBucket."""
        return Ask(self.signed("PUT", f"/{bucket}", headers={"content-length": "0"}), 200)


def _head(method: str, path: str, query: str, headers: Mapping[str, str]) -> bytes:
    target = encode_path(path) + ("?" + query if query else "")
    lines = [f"{method} {target} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items()), "", ""]
    return "\r\n".join(lines).encode()
