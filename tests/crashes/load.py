"""Clients that write down what they were promised, and what must be found after a crash.

Each hand is one client in one thread with keys of its own, so what a key may be is always known: after an answer
exactly one state, after a lost answer the old or the new one. Invariant: a state is whole; its bytes follow from
its token, so they need not be kept to be compared.
"""

import functools
import hashlib
import os
import random
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple

from botocore.exceptions import BotoCoreError, ClientError, EndpointConnectionError, ReadTimeoutError

from holdfast.grids import names
from tests.crashes.server import until
from tests.crashes.tally import TALLY

BUCKET: Final = "crashes"
KIB: Final = 1024
MIB: Final = 1024 * KIB
_MEDIUM: Final = 200 * KIB
"""A spool file of one block."""
_LARGE: Final = 3 * MIB
"""A spool file of several blocks."""
_PART: Final = 5 * MIB
_RETRY_S: Final = 0.01
_TRY_LATER: Final = frozenset({"SlowDown", "ServiceUnavailable"})
_NAMES: Final = (
    *(f"k{number}" for number in range(12)),
    "a",
    "a/b",
    "a/b/c",
    "dir/",
    "dir/x",
    "x//y",
    "../up",
    "./.holdfast/identity",
    "50% off+more",
    "é/日本語",
    "s" * 300,
)


class State(NamedTuple):
    """What a key is: a whole object."""

    token: str
    size: int
    etag: str

    def data(self) -> bytes:
        return body_of(self.token, self.size)


@functools.lru_cache(maxsize=48)
def body_of(token: str, size_bytes: int) -> bytes:
    return random.Random(token).randbytes(size_bytes)


def md5_of(data: bytes) -> str:
    return hashlib.md5(data, usedforsecurity=False).hexdigest()


class Fate:
    """What one key may be. None is absence."""

    __slots__ = ("allowed", "everything", "promised")

    def __init__(self) -> None:
        self.allowed: set[State | None] = {None}
        self.everything: set[State] = set()
        """All that was ever sent for this key."""
        self.promised = False
        """Its last change was acknowledged."""

    def sent(self, state: State | None) -> None:
        """A change is on its way: until its answer comes both are possible."""
        self.allowed.add(state)
        self.promised = False
        if state is not None:
            self.everything.add(state)

    def acknowledged(self, state: State | None) -> None:
        self.allowed = {state}
        self.promised = True

    def unsent(self, before: "tuple[set[State | None], bool]") -> None:
        self.allowed, self.promised = before

    def seen(self, state: State | None) -> None:
        """A client saw it: whatever was in doubt is decided."""
        self.allowed = {state}

    @property
    def sure(self) -> State | None:
        """The only object that it can be, if it is one."""
        return next(iter(self.allowed)) if len(self.allowed) == 1 else None


class Hand:
    """One client, at work in one thread."""

    def __init__(self, number: int, dice: random.Random) -> None:
        self.number = number
        self.fates = {f"{number}/{name}": Fate() for name in _NAMES}
        self.acknowledged = 0
        self.lost = 0
        self._dice = dice
        self._seed = dice.randbytes(4).hex()
        self._sent = 0

    def work(self, s3: Any, stop: threading.Event) -> None:
        """Do one thing after the other until `stop` is set. Raises AssertionError when a promise is broken."""
        acts: dict[Callable[[Any], None], int] = {
            self._put_small: 40,
            self._put_medium: 14,
            self._put_large: 4,
            self._put_parts: 3,
            self._copy: 12,
            self._delete: 14,
            self._delete_some: 4,
            self._get: 9,
        }
        choices, weights = list(acts), list(acts.values())
        while not stop.is_set():
            act = self._dice.choices(choices, weights)[0]
            try:
                act(s3)
            except ReadTimeoutError:
                raise
            except EndpointConnectionError:
                stop.wait(_RETRY_S)
            except ClientError as refusal:
                assert refusal.response["Error"]["Code"] in _TRY_LATER, refusal
                self.lost += 1
            except BotoCoreError:
                self.lost += 1
            else:
                self.acknowledged += 1

    def check(self, s3: Any) -> dict[str, State]:
        """See every key, each in a state that it may be in. Returns those that are objects."""
        for key, fate in self.fates.items():
            TALLY.checked += fate.promised
            try:
                self._see(s3, key)
            except AssertionError:
                TALLY.lost += fate.promised
                raise
        return {key: fate.sure for key, fate in self.fates.items() if fate.sure is not None}

    # --- what it does ---

    def _any_key(self) -> str:
        return self._dice.choice(list(self.fates))

    def _new_token(self) -> str:
        self._sent += 1
        return f"{self._seed}-{self._sent}"

    @contextmanager
    def _changing(self, changes: dict[str, State | None]) -> Iterator[None]:
        """Around a request that makes these keys something else."""
        before = {key: (set(self.fates[key].allowed), self.fates[key].promised) for key in changes}
        for key, state in changes.items():
            self.fates[key].sent(state)
        try:
            yield
        except EndpointConnectionError:
            for key, was in before.items():
                self.fates[key].unsent(was)
            raise
        for key, state in changes.items():
            self.fates[key].acknowledged(state)

    def _put(self, s3: Any, size_bytes: int) -> None:
        token = self._new_token()
        data = body_of(token, size_bytes)
        key, state = self._any_key(), State(token, size_bytes, md5_of(data))
        with self._changing({key: state}):
            answer = s3.put_object(Bucket=BUCKET, Key=key, Body=data, Metadata={"token": token})
            assert answer["ETag"] == f'"{state.etag}"', (key, answer)

    def _put_small(self, s3: Any) -> None:
        self._put(s3, self._dice.choice((0, 1, 500, 4 * KIB, 64 * KIB)))

    def _put_medium(self, s3: Any) -> None:
        self._put(s3, _MEDIUM)

    def _put_large(self, s3: Any) -> None:
        self._put(s3, _LARGE)

    def _put_parts(self, s3: Any) -> None:
        token, key = self._new_token(), self._any_key()
        size = _PART + self._dice.randrange(1, 100 * KIB)
        data = body_of(token, size)
        pieces = (data[:_PART], data[_PART:])
        digest = md5_of(b"".join(bytes.fromhex(md5_of(piece)) for piece in pieces))
        state = State(token, size, f"{digest}-2")
        where = {"Bucket": BUCKET, "Key": key}
        where["UploadId"] = s3.create_multipart_upload(**where, Metadata={"token": token})["UploadId"]
        parts = [
            {"PartNumber": number, "ETag": s3.upload_part(**where, PartNumber=number, Body=piece)["ETag"]}
            for number, piece in enumerate(pieces, start=1)
        ]
        if self._dice.random() < 0.2:
            s3.abort_multipart_upload(**where)
            return
        with self._changing({key: state}):
            answer = s3.complete_multipart_upload(**where, MultipartUpload={"Parts": parts})
            assert answer["ETag"] == f'"{state.etag}"', (key, answer)

    def _copy(self, s3: Any) -> None:
        sources = [(key, fate.sure) for key, fate in self.fates.items() if fate.sure is not None]
        if not sources:
            return
        source, held = self._dice.choice(sources)
        key = self._any_key()
        if key == source:
            return
        state = State(held.token, held.size, md5_of(held.data()))
        with self._changing({key: state}):
            answer = s3.copy_object(Bucket=BUCKET, Key=key, CopySource={"Bucket": BUCKET, "Key": source})
            assert answer["CopyObjectResult"]["ETag"] == f'"{state.etag}"', (key, answer)

    def _delete(self, s3: Any) -> None:
        key = self._any_key()
        with self._changing({key: None}):
            s3.delete_object(Bucket=BUCKET, Key=key)

    def _delete_some(self, s3: Any) -> None:
        keys = self._dice.sample(list(self.fates), 3)
        with self._changing(dict.fromkeys(keys)):
            answer = s3.delete_objects(Bucket=BUCKET, Delete={"Objects": [{"Key": key} for key in keys]})
            assert not answer.get("Errors"), answer

    def _get(self, s3: Any) -> None:
        self._see(s3, self._any_key())

    def _see(self, s3: Any, key: str) -> None:
        fate = self.fates[key]
        try:
            answer = s3.get_object(Bucket=BUCKET, Key=key)
        except s3.exceptions.NoSuchKey:
            assert None in fate.allowed, f"{key} is gone and should be one of {fate.allowed}"
            fate.seen(None)
            return
        data = answer["Body"].read()
        found = State(answer["Metadata"].get("token", ""), len(data), answer["ETag"].strip('"'))
        assert found in fate.allowed, f"{key} is {found} and should be one of {fate.allowed}"
        assert data == found.data(), f"{key} has the wrong bytes"
        fate.seen(found)


class Crowd:
    """Several hands at once."""

    def __init__(self, dice: random.Random, *, hands: int = 4) -> None:
        self.hands = [Hand(number, random.Random(dice.random())) for number in range(hands)]
        self._futures: list[Future[None]] = []

    @property
    def acknowledged(self) -> int:
        return sum(hand.acknowledged for hand in self.hands)

    @property
    def lost(self) -> int:
        return sum(hand.lost for hand in self.hands)

    @contextmanager
    def working(self, client: Callable[[], Any]) -> Iterator[None]:
        """All hands are at work inside; what one of them found broken is raised at the end."""
        stop = threading.Event()
        with ThreadPoolExecutor(len(self.hands)) as pool:
            self._futures = [pool.submit(hand.work, client(), stop) for hand in self.hands]
            try:
                yield
            finally:
                stop.set()
        for future in self._futures:
            future.result()

    def wait_acknowledged(self, more: int) -> None:
        """Wait until that many more requests were answered (or a hand found something broken)."""
        wanted = self.acknowledged + more
        until(
            f"{more} answers",
            lambda: self.acknowledged >= wanted or any(future.done() for future in self._futures),
        )

    def check(self, s3: Any) -> dict[str, State]:
        """See every key and the listing: all that was promised, and nothing else. Returns all objects."""
        objects: dict[str, State] = {}
        for hand in self.hands:
            objects |= hand.check(s3)
        pages = s3.get_paginator("list_objects_v2").paginate(Bucket=BUCKET, PaginationConfig={"PageSize": 37})
        rows = [row for page in pages for row in page.get("Contents", ())]
        listed = {row["Key"]: (row["Size"], row["ETag"].strip('"')) for row in rows}
        assert listed == {key: (state.size, state.etag) for key, state in objects.items()}
        assert [row["Key"] for row in rows] == sorted(listed, key=str.encode)
        return objects

    def fates(self) -> dict[str, Fate]:
        return {key: fate for hand in self.hands for key, fate in hand.fates.items()}

    def check_whole(self, grids: Sequence[Path]) -> None:
        """No grid shows anything but whole objects that were sent for their key. May be asked at any moment."""
        fates = self.fates()
        for root in grids:
            for key, path in paths_of(root):
                try:
                    data = path.read_bytes()
                except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
                    continue  # Deleted since it was listed, and perhaps `a` made way for `a/b`, or the reverse.
                sent = [state for state in tuple(fates[key].everything) if state.size == len(data)]
                assert any(data == state.data() for state in sent), (
                    f"{path} has {len(data)} bytes that nobody sent for {key!r}"
                )

    def check_held(self, grids: Sequence[Path], enough: int) -> int:
        """Every object whose writing was acknowledged lies in at least so many grids. Returns how many there are."""
        held = [files_of(root) for root in grids]
        count = 0
        for key, fate in self.fates().items():
            state = fate.sure
            if state is None or not fate.promised:
                continue
            count += 1
            copies = sum(key in files and files[key].read_bytes() == state.data() for files in held)
            assert copies >= enough, f"{key} was acknowledged and is in {copies} grids, not {enough}"
        return count


def paths_of(root: Path, bucket: str = BUCKET) -> Iterator[tuple[str, Path]]:
    """The plain files of a bucket in a folder grid, each with its key."""
    top = root / bucket
    for folder, _, files in os.walk(top):
        for name in files:
            path = Path(folder, name)
            relative = path.relative_to(top).as_posix()
            hard = relative.startswith(f"{names.PRIVATE}/")
            yield names.key_of(relative.encode()) if hard else relative, path


def files_of(root: Path, bucket: str = BUCKET) -> dict[str, Path]:
    """The objects by key. A crash may leave both forms of one: then the plain one is the object."""
    found: dict[str, Path] = {}
    for key, path in paths_of(root, bucket):
        if key not in found or path.relative_to(root / bucket).parts[0] != names.PRIVATE:
            found[key] = path
    return found


def check_grids(grids: Sequence[Path], objects: dict[str, State]) -> None:
    """Every grid has exactly these objects, byte by byte."""
    for root in grids:
        files = files_of(root)
        assert files.keys() == objects.keys(), f"{root}: {sorted(files.keys() ^ objects.keys())}"
        assert len(files) == sum(1 for _ in paths_of(root)), f"{root}: a key is there in both forms"
        for key, path in files.items():
            assert path.read_bytes() == objects[key].data(), f"{path} has the wrong bytes"
