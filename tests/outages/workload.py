"""Clients that remember what was acknowledged, and hold every answer against it.

Answers for: each write is recorded before it is sent and again when it is acknowledged; each GET, HEAD and LIST must show
what was acknowledged when it began, or something written since. What contradicts that is a *lie*, what is not answered
with success is a *failure*; both are counted, with what was said. It never tries twice. Invariant: each key
has one writer at a time, so its acknowledged history has an order.
"""

import hashlib
import random
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, Final

import boto3
import botocore.config
import botocore.exceptions

from tests.outages.gateway import ACCESS_KEY, BUCKET, SECRET_KEY, Gateway, until

KIB: Final = 1024
MIB: Final = 1024 * KIB
SIZES: Final = {"small": KIB, "medium": 100 * KIB, "large": 3 * MIB, "parts": 5 * MIB + 70 * KIB}
"""Kinds of bodies: inline in the index, a spool file of one block, of several, and a multipart upload."""
_PART_BYTES: Final = 5 * MIB
_HANDS: Final = 3


class _Key:
    """The history of one key: bodies in the order in which they were sent, None for a deletion."""

    def __init__(self) -> None:
        self.bodies: list[bytes | None] = [None]
        self.settled = 0
        """Index of the last one that was acknowledged."""
        self.writing = threading.Lock()

    def allowed(self, since: int) -> list[bytes | None]:
        return self.bodies[since:]


class Failure(Exception):
    """A request that was not answered with success."""

    def __init__(self, operation: str, key: str, status: int, code: str, headers: dict[str, str]) -> None:
        self.operation = operation
        self.key = key
        self.status = status
        self.code = code
        self.headers = headers
        super().__init__(f"{operation} {key}: {status} {code}")


def client(gateway: Gateway) -> Any:
    """boto3's client, which never tries twice: an answer that a retry would hide is a failure."""
    settings = botocore.config.Config(
        s3={"addressing_style": "path"},
        retries={"total_max_attempts": 1},
        max_pool_connections=2 * _HANDS,
        connect_timeout=10,
        read_timeout=40,
    )
    return boto3.session.Session().client(
        "s3",
        endpoint_url=f"http://127.0.0.1:{gateway.port}",
        region_name="us-east-1",
        aws_access_key_id=ACCESS_KEY,
        aws_secret_access_key=SECRET_KEY,
        config=settings,
    )


class Workload:
    """A client of one gateway, with its memory. All methods may be called from several threads."""

    def __init__(self, gateway: Gateway, seed: int = 0) -> None:
        self._gateway = gateway
        self._s3: Any = None
        self._port = 0
        self._keys: dict[str, _Key] = {}
        self._lock = threading.Lock()
        self._random = random.Random(seed)
        self._written = 0
        self.lies: list[str] = []
        self.failures: list[Failure] = []
        self.answered = 0
        """Requests that were answered with success."""

    @property
    def _client(self) -> Any:
        if self._port != self._gateway.port:
            with self._lock:
                self._s3, self._port = client(self._gateway), self._gateway.port
        return self._s3

    def create_bucket(self) -> None:
        self._client.create_bucket(Bucket=BUCKET)

    # --- requests; each raises Failure, which is also remembered ---

    def put(self, key: str, kind: str = "small") -> None:
        """Write a body that was never written before."""
        body = self._body(key, SIZES[kind])
        send = self._upload if kind == "parts" else self._put
        self._change(f"put {kind}", key, body, lambda: send(key, body))

    def delete(self, key: str) -> None:
        self._change("delete", key, None, lambda: self._client.delete_object(Bucket=BUCKET, Key=key))

    def get(self, key: str) -> None:
        known = self._key(key)
        since = known.settled
        try:
            reply = self._ask("get", key, lambda: self._client.get_object(Bucket=BUCKET, Key=key))
            body = self._ask("get", key, reply["Body"].read)
        except Failure as failure:
            if failure.code != "NoSuchKey":
                raise
            body = None
        allowed = known.allowed(since)
        if body not in allowed:
            got = "nothing" if body is None else f"{len(body)} bytes, md5 {_md5(body)}"
            self._lie(f"GET {key} gave {got} instead of {_told(allowed)}")

    def head(self, key: str) -> None:
        known = self._key(key)
        since = known.settled
        try:
            reply = self._ask("head", key, lambda: self._client.head_object(Bucket=BUCKET, Key=key))
        except Failure as failure:
            if failure.status != 404:
                raise
            reply = None
        self._check_row(f"HEAD {key}", reply, known.allowed(since))

    def listing(self) -> None:
        """List the whole bucket."""
        with self._lock:
            since = {name: key.settled for name, key in self._keys.items()}
        rows: dict[str, Any] = {}
        ask = partial(self._client.list_objects_v2, Bucket=BUCKET, MaxKeys=50)
        while True:
            page = self._ask("list", "", ask)
            rows.update({row["Key"]: row for row in page.get("Contents", ())})
            if not page["IsTruncated"]:
                break
            ask = partial(ask, ContinuationToken=page["NextContinuationToken"])
        if list(rows) != sorted(rows, key=str.encode):
            self._lie(f"LIST is not in order: {list(rows)}")
        with self._lock:
            known = {name: key.allowed(since.get(name, 0)) for name, key in self._keys.items()}
        for name in rows.keys() | known.keys():
            row = rows.get(name)
            told = None if row is None else {"ETag": row["ETag"], "ContentLength": row["Size"]}
            self._check_row(f"LIST {name}", told, known.get(name, [None]))

    # --- several at once ---

    def fill(self, prefix: str, kinds: Sequence[str] = tuple(SIZES), each: int = 2) -> list[str]:
        """Write some objects of each kind; returns their keys."""
        made = [(f"{prefix}/{kind}/{number}", kind) for kind in kinds for number in range(each)]
        for key, kind in made:
            self.put(key, kind)
        return [key for key, _ in made]

    def check_all(self) -> None:
        """Read every key that was ever written, and list them."""
        for key in self.names():
            self.get(key)
            self.head(key)
        self.listing()

    def names(self) -> list[str]:
        with self._lock:
            return sorted(self._keys)

    def content(self) -> dict[str, bytes]:
        """What is there, by what was acknowledged."""
        with self._lock:
            current = {name: key.bodies[key.settled] for name, key in self._keys.items()}
        return {name: body for name, body in current.items() if body is not None}

    @contextmanager
    def load(self) -> Iterator["Load"]:
        """A steady mixed load while the context lasts."""
        load = Load(self)
        load.begin()
        try:
            yield load
        finally:
            load.end()

    def assert_faithful(self) -> None:
        """Nothing that was ever read contradicted what was acknowledged."""
        assert self.lies == []

    def assert_untroubled(self) -> None:
        """Neither lies nor a single failed request."""
        assert [str(failure) for failure in self.failures] == []
        self.assert_faithful()

    # --- within ---

    def mixed(self, chance: random.Random) -> None:
        """One request of a mixed load: reads mostly."""
        draw = chance.random()
        if draw < 0.05:
            return self.listing()
        names = self.names()
        key = chance.choice(names)
        if draw < 0.5:
            return self.get(key)
        if draw < 0.6:
            return self.head(key)
        kind = chance.choices(("small", "medium", "large"), (70, 25, 5))[0]
        if draw < 0.75:
            return self.put(f"load/{chance.randrange(40)}", kind)
        if draw < 0.9:
            return self.put(key, kind)
        return self.delete(key)

    def _body(self, key: str, size: int) -> bytes:
        with self._lock:
            self._written += 1
            stamp = f"{key} {self._written} ".encode()
            return stamp + self._random.randbytes(size - len(stamp))

    def _key(self, key: str) -> _Key:
        with self._lock:
            return self._keys.setdefault(key, _Key())

    def _change(self, operation: str, key: str, body: bytes | None, send: Callable[[], object]) -> None:
        known = self._key(key)
        with known.writing:
            known.bodies.append(body)
            self._ask(operation, key, send)
            known.settled = len(known.bodies) - 1

    def _put(self, key: str, body: bytes) -> None:
        self._client.put_object(Bucket=BUCKET, Key=key, Body=body)

    def _upload(self, key: str, body: bytes) -> None:
        begun = self._client.create_multipart_upload(Bucket=BUCKET, Key=key)["UploadId"]
        parts = []
        for number, start in enumerate(range(0, len(body), _PART_BYTES), 1):
            part = self._client.upload_part(
                Bucket=BUCKET, Key=key, UploadId=begun, PartNumber=number, Body=body[start : start + _PART_BYTES]
            )
            parts.append({"PartNumber": number, "ETag": part["ETag"]})
        self._client.complete_multipart_upload(Bucket=BUCKET, Key=key, UploadId=begun, MultipartUpload={"Parts": parts})

    def _ask(self, operation: str, key: str, send: Callable[[], Any]) -> Any:
        try:
            reply = send()
        except botocore.exceptions.ClientError as refusal:
            meta = refusal.response["ResponseMetadata"]
            code = refusal.response["Error"]["Code"]
            failure = Failure(operation, key, meta["HTTPStatusCode"], code, meta["HTTPHeaders"])
            if failure.status != 404:
                self._fail(failure)
            raise failure from refusal
        except (botocore.exceptions.BotoCoreError, botocore.exceptions.HTTPClientError) as silence:
            failure = Failure(operation, key, 0, f"{type(silence).__name__}: {silence}", {})
            self._fail(failure)
            raise failure from silence
        with self._lock:
            self.answered += 1
        return reply

    def _fail(self, failure: Failure) -> None:
        with self._lock:
            self.failures.append(failure)

    def _lie(self, what: str) -> None:
        with self._lock:
            self.lies.append(what)

    def _check_row(self, what: str, row: Any, allowed: list[bytes | None]) -> None:
        for body in allowed:
            if body is None or row is None:
                if body is None and row is None:
                    return
            elif row["ContentLength"] == len(body) and row["ETag"].strip('"') in (_md5(body), _parts_etag(body)):
                return
        got = "nothing" if row is None else f"{row['ContentLength']} bytes, etag {row['ETag']}"
        self._lie(f"{what} gave {got} instead of {_told(allowed)}")


class Load:
    """A few threads that send requests one after another."""

    def __init__(self, workload: Workload) -> None:
        self._workload = workload
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._work, args=(number,)) for number in range(_HANDS)]

    def begin(self) -> None:
        for thread in self._threads:
            thread.start()

    def end(self) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()

    def await_answers(self, count: int) -> None:
        """Return when so many further requests were answered."""
        wanted = self._workload.answered + count
        until(lambda: self._workload.answered >= wanted, lambda: [str(each) for each in self._workload.failures])

    def _work(self, number: int) -> None:
        chance = random.Random(number)
        while not self._over.is_set():
            try:
                self._workload.mixed(chance)
            except Failure:
                continue  # Remembered: the test judges it.


def _md5(body: bytes) -> str:
    return hashlib.md5(body).hexdigest()


def _parts_etag(body: bytes) -> str:
    digests = [hashlib.md5(body[at : at + _PART_BYTES]).digest() for at in range(0, len(body), _PART_BYTES)]
    return f"{_md5(b''.join(digests))}-{len(digests)}"


def _told(allowed: Sequence[bytes | None]) -> list[str]:
    return ["nothing" if body is None else f"{len(body)} bytes, md5 {_md5(body)}" for body in allowed]
