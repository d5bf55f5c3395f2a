"""A gateway on a socket with a store of a few lines behind it, and signed requests to send to it.

For tests of what lies between bytes and the store. The store keeps what it is given and can be made to fail; it
is no model of S3.
"""

import hashlib
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping
from typing import Any

from holdfast import s3
from holdfast.access.guard import Guard
from holdfast.clock import Clock
from holdfast.errors import S3Error
from holdfast.events import Event, RequestEnded, Teller
from holdfast.limits import PATIENCE_S
from holdfast.model import Bucket, Checksum, Facts, Span, Version
from holdfast.s3.identities import OWNER_ID, ROOT, Account, Identity, Kind
from holdfast.sealing.master import KEY_BYTES, MasterKey
from holdfast.serve.gateway import Gateway
from holdfast.serve.http import Bounds, S3Server
from holdfast.serve.methods import METHODS
from holdfast.signing import (
    amz_date,
    chunk_signature,
    encode_path,
    sign_headers,
    signing_key,
    trailer_signature,
)
from holdfast.testing.rawhttp import Answer, RawClient, StillClock, run, serving

ACCESS, SECRET, REGION = "AKIDEXAMPLE", "secret", "us-east-1"
NOW_MS = StillClock().now_ms()
KIB = 1024
MIB = 1024 * KIB


class TinyStore:
    """Keeps bodies in a dict. `hook` runs first and may raise; `pieces` is what a GET streams."""

    def __init__(self) -> None:
        self.bodies: dict[str, bytes] = {}
        self.asked: list[Any] = []
        self.trailers: list[Checksum | None] = []
        self.hook: Callable[[], Awaitable[None]] | None = None
        self.pieces: Callable[[], AsyncIterator[bytes]] | None = None
        self.stream_size = 0
        self.streams: list[AsyncIterator[bytes]] = []
        """Kept, so that only whoever closes them closes them."""

    def __getattr__(self, name: str) -> Callable[..., Coroutine[Any, Any, Any]]:
        if name not in METHODS.values():
            raise AttributeError(name)

        async def absent(ask: Any) -> Any:
            await self._begin(ask)
            raise S3Error("NoSuchBucket", fields={"BucketName": ask.bucket})

        return absent

    async def _begin(self, ask: Any) -> None:
        self.asked.append(ask)
        if self.hook is not None:
            await self.hook()

    async def list_buckets(self, ask: s3.ListBuckets) -> s3.BucketsListed:
        await self._begin(ask)
        return s3.BucketsListed((Bucket("photos", NOW_MS, ""),), "owner")

    async def create_bucket(self, ask: s3.CreateBucket) -> s3.BucketCreated:
        await self._begin(ask)
        return s3.BucketCreated(ask.bucket)

    async def put_object(self, ask: s3.PutObject, body: s3.Body) -> s3.ObjectPut:
        await self._begin(ask)
        data = b""
        while piece := await body.read():
            data += piece
        assert body.size in (None, len(data))
        self.trailers.append(body.trailer)
        self.bodies[ask.key] = data
        return s3.ObjectPut(hashlib.md5(data, usedforsecurity=False).hexdigest(), None, len(data))

    async def get_object(self, ask: s3.GetObject) -> s3.ObjectGot:
        await self._begin(ask)
        if self.pieces is not None:
            self.streams.append(self.pieces())
            return s3.ObjectGot(_version(self.stream_size), Span(0, self.stream_size), stream=self.streams[-1])
        if ask.key not in self.bodies:
            raise S3Error("NoSuchKey", fields={"Key": ask.key})
        data = self.bodies[ask.key]
        return s3.ObjectGot(_version(len(data)), Span(0, len(data)), data=data)

    async def copy_object(self, ask: s3.CopyObject) -> s3.ObjectCopied:
        await self._begin(ask)
        if ask.source.key not in self.bodies:
            raise S3Error("NoSuchKey", fields={"Key": ask.source.key})
        self.bodies[ask.key] = self.bodies[ask.source.key]
        return s3.ObjectCopied("an-etag", NOW_MS, None)

    async def delete_objects(self, ask: s3.DeleteObjects) -> s3.ObjectsDeleted:
        await self._begin(ask)
        return s3.ObjectsDeleted(tuple(s3.KeyDeleted(one.key) for one in ask.asks), (), ask.quiet)


def _version(size: int) -> Version:
    return Version(1, size, "an-etag", NOW_MS, Facts(), (), 0)


class NoIdentities:
    """Nobody but the root account."""

    def by_key(self, access_key: str) -> Identity | None:
        return None

    def by_id(self, account: str, member: str) -> Identity | None:
        return Identity(ROOT) if account == ROOT.id and not member else None

    def by_name(self, number: str, kind: Kind, name: str) -> Identity | None:
        return None

    def account(self, text: str) -> Account | None:
        return ROOT if text in (ROOT.id, ROOT.number) else None


class TinyIndex:
    """Every bucket is there and the root account's, shared with nobody."""

    identities = NoIdentities()

    def __init__(self) -> None:
        self._found: dict[str, Bucket] = {}

    async def bucket(self, name: str) -> Bucket:
        return self.remembered(name)

    def remembered(self, name: str) -> Bucket:
        return self._found.setdefault(name, Bucket(name, NOW_MS, "", OWNER_ID))

    async def get(self, bucket: str, key: str) -> Version | None:
        """No object has marks that a decision could hang on."""
        return None


def guard_of(index: Any, clock: Clock | None = None) -> Guard:
    """A guard with the key pair of these tests as the root account's."""
    clock = clock or StillClock()
    master = MasterKey([bytes(KEY_BYTES)], clock)
    return Guard(index, access_key=ACCESS, secret_key=SECRET, master=master, clock=clock)


class Scene:
    """A gateway on a socket, a client, and what the gateway told."""

    def __init__(self, store: TinyStore, client: RawClient, server: S3Server, port: int, told: list[Event]) -> None:
        self.store = store
        self.client = client
        self.server = server
        self.port = port
        self.told = told

    @property
    def ended(self) -> RequestEnded:
        """The event of the last request."""
        event = self.told[-1]
        assert isinstance(event, RequestEnded)
        return event


def play(
    scene: Callable[[Scene], Coroutine[Any, Any, None]],
    bounds: Bounds | None = None,
    *,
    patience_s: float = PATIENCE_S,
) -> None:
    async def main() -> None:
        told: list[Event] = []
        teller = Teller()
        teller.subscribe(told.append)
        store = TinyStore()
        gateway = Gateway(
            store,
            guard=guard_of(TinyIndex()),
            region=REGION,
            domain="",
            clock=StillClock(),
            teller=teller,
            patience_s=patience_s,
        )
        async with serving(gateway.handle, bounds=bounds) as (server, port):
            await scene(Scene(store, await RawClient.connect(port), server, port, told))

    run(main())


def head_of(method: str, target: str, headers: Mapping[str, str]) -> bytes:
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"{method} {target} HTTP/1.1\r\n{lines}\r\n".encode()


def signed(
    method: str,
    path: str,
    body: bytes = b"",
    *,
    query: tuple[tuple[str, str], ...] = (),
    headers: Mapping[str, str] | None = None,
    payload: str | None = None,
    secret: str = SECRET,
    length: bool = True,
) -> bytes:
    """A request with its signature, ready to be sent."""
    sent = sign_headers(
        method,
        path,
        query,
        {"host": "127.0.0.1", **(headers or {})},
        payload=hashlib.sha256(body).hexdigest() if payload is None else payload,
        access_key=ACCESS,
        secret_key=secret,
        region=REGION,
        now_ms=NOW_MS,
    )
    if length and (body or method in ("PUT", "POST")):
        sent["content-length"] = str(len(body))
    target = encode_path(path) + ("?" + "&".join(f"{name}={value}" for name, value in query) if query else "")
    return head_of(method, target, sent) + body


def code_of(answer: Answer) -> str:
    """The code in an error's body, which must be S3's XML and agree with the headers."""
    assert answer.headers["content-type"] == "application/xml"
    text = answer.body.decode()
    assert f"<RequestId>{answer.headers['x-amz-request-id']}</RequestId>" in text
    assert f"<HostId>{answer.headers['x-amz-id-2']}</HostId>" in text
    found = re.search("<Code>(.*?)</Code>", text)
    assert found
    return found[1]


def signed_stream(body: bytes, size: int, *, spoil: bool = False) -> bytes:
    """A PUT in chunks of `size` bytes, each with its signature."""
    head = signed(
        "PUT",
        "/bucket/key",
        headers={"x-amz-decoded-content-length": str(len(body)), "x-amz-trailer": "x-amz-checksum-crc32"},
        payload="STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER",
        length=False,
    )
    found = re.search(b"Signature=([0-9a-f]{64})", head)
    assert found
    proof = found[1].decode()
    date = amz_date(NOW_MS)
    scope = f"{date[:8]}/{REGION}/s3/aws4_request"
    key = signing_key(SECRET, date[:8], REGION)
    framed = b""
    for at in (*range(0, len(body), size), len(body)):
        piece = body[at : at + size]
        proof = chunk_signature(key, date, scope, proof, hashlib.sha256(piece).hexdigest())
        framed += b"%x;chunk-signature=%s\r\n" % (len(piece), proof.encode()) + piece + b"\r\n" * bool(piece)
    proof = trailer_signature(key, date, scope, proof, [("x-amz-checksum-crc32", "AAAAAA==")])
    framed += b"x-amz-checksum-crc32:AAAAAA==\r\nx-amz-trailer-signature:%s\r\n\r\n" % proof.encode()
    if spoil:
        at = framed.rindex(body[-4:])
        framed = framed[:at] + b"XXXX" + framed[at + 4 :]
    return head[:-2] + b"content-length: %d\r\n\r\n" % len(framed) + framed
