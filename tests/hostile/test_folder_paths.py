"""Whatever a key or a bucket is called, and whatever others planted there: nothing outside a folder grid is read, written or
removed, and nothing in its private area but by design."""

import asyncio
import os
import shutil
from collections.abc import Awaitable, Callable
from pathlib import Path
from urllib.parse import unquote

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from holdfast.clock import SystemClock
from holdfast.errors import GridError, Reason, Refused, Unavailable
from holdfast.events import Teller
from holdfast.grids.folder import FolderGrid
from holdfast.limits import KEY_BYTES
from holdfast.model import Place
from holdfast.s3 import CreateBucket
from holdfast.serve.gateway import Gateway
from holdfast.signing import sign_headers
from holdfast.testing.contract.check import label, put, read
from holdfast.testing.hard_keys import HARD_KEYS
from holdfast.testing.rawhttp import RawClient, StillClock, serving
from holdfast.testing.scene import ACCESS, NOW_MS, REGION, SECRET, guard_of, head_of
from tests.engine import engine

SECRET_TEXT = b"of somebody else"
HOSTILE_KEYS = (
    "..", "../..", "../outside/secret", "../../outside/secret", "a/../../../outside/secret", "./../outside/secret", "/../outside/secret",
    "//../outside/secret", "....//....//outside/secret", "..\\..\\outside\\secret", "..%2f..%2foutside", "%2e%2e/%2e%2e/outside/secret",
    "..;/outside", "..\0/outside", "../outside/secret\0.txt", "/etc/passwd", "~/.ssh/id_rsa", "~", ".holdfast", ".holdfast/", ".holdfast/identity",
    "../.holdfast/identity", "../.holdfast/tmp/x", ".holdfast/../../outside/secret", ".holdfast/%2E%2E%/outside", ".holdfast/a%/b", "%2E%2E",
    "%2E%2E%/outside", "%_", "%-", "a%-", "\uff0e\uff0e/outside", "\u2025/outside", "..\u2215outside", "..\u2044outside", "x" * 255, "x" * 256,
    "x/" * 512, "/" * 1024, "../" * 341, "é" * 512, "a" * 254 + "/..", "\ufeff../outside", "con", "nul:", "a\n/../b", "-rf", "*", "?", "$(id)",
)  # fmt: skip
HOSTILE_BUCKETS = (
    "", ".", "..", "../outside", "..\\outside", "/", "/etc", "a/b", ".holdfast", ".holdfast/tmp", "a\0b", "\0", "\ud800", "x" * 300, ".hidden",
)  # fmt: skip


class World:
    """A directory with a folder grid in it and other people's things beside it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.root = folder / "grid"
        self.outside = folder / "outside"
        self.outside.mkdir(parents=True)
        (self.outside / "secret").write_bytes(SECRET_TEXT)
        (self.outside / "sub").mkdir()

    def others(self) -> dict[str, object]:
        """All that is not the grid's, and what of the grid is its own: names, contents and times."""
        found: dict[str, object] = {}
        for path in sorted(self.folder.rglob("*")):
            inside = path.is_relative_to(self.root)
            private = path.is_relative_to(self.root / ".holdfast")
            if (inside and not private) or path == self.root or path.is_relative_to(self.root / ".holdfast" / "tmp"):
                continue
            content = path.read_bytes() if path.is_file() else os.readlink(path) if path.is_symlink() else None
            times = () if private or path == self.folder else (path.lstat().st_mtime_ns, path.lstat().st_mode)
            if path.name not in ("offered", "identity") and path != self.root / ".holdfast":
                found[str(path)] = (content, times)
        return found

    def run(self, body: Callable[[FolderGrid], Awaitable[None]]) -> None:
        """Run `body` on the attached grid, and see that nothing else was touched."""
        before = self.others()

        async def main() -> None:
            grid = FolderGrid("grid", self.root, clock=SystemClock())
            await grid.attach("")
            try:
                await body(grid)
            finally:
                await grid.close()

        asyncio.run(main())
        assert self.others() == before


async def _everything(grid: FolderGrid, bucket: str, key: str) -> None:
    """Every method of the grid with this name; what one of them gives is what was put."""
    place = Place(bucket, key)
    for ask in (grid.get(place), grid.head(place), grid.delete(place)):
        try:
            await ask
        except Refused as refused:
            assert refused.reason in (Reason.ABSENT, Reason.INVALID)
    try:
        await put(grid, bucket, key, b"ours")
    except Refused as refused:
        assert refused.reason is Reason.INVALID
        return
    assert await read(grid, bucket, key) == b"ours"
    held = await grid.head(place)
    await grid.copy(place, Place(bucket, "copy"), if_match=held.etag, label=label())
    assert {one.key for one in await grid.list(bucket)} == {key, "copy"}
    assert [one.key for one in await grid.list(bucket, prefix=key)] == [key] or "copy".startswith(key)
    await grid.delete(place)
    await grid.delete(Place(bucket, "copy"))
    assert await grid.list(bucket) == ()


def test_no_key_leaves_its_bucket(tmp_path: Path) -> None:
    world = World(tmp_path)

    async def body(grid: FolderGrid) -> None:
        for key in dict.fromkeys((*HOSTILE_KEYS, *HARD_KEYS)):
            if key and len(key.encode()) <= KEY_BYTES and key != "copy":
                await _everything(grid, "bucket", key)
                assert set(os.listdir(world.root)) <= {".holdfast", "bucket"}

    world.run(body)


_SEGMENTS = st.one_of(
    st.sampled_from(
        [
            "..",
            ".",
            "",
            ".holdfast",
            "identity",
            "outside",
            "secret",
            "%2E%2E",
            "%",
            "%-",
            "%_",
            "\\",
            "\0",
            "x" * 256,
            "é" * 128,
        ]
    ),
    st.text(max_size=8),
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(keys=st.lists(st.lists(_SEGMENTS, min_size=1, max_size=6).map("/".join), min_size=1, max_size=6))
@example(keys=["..", ".", "../..", "a/..", "a/../.."])
@example(keys=[".holdfast/a%/b", "a/b", ".holdfast"])
@example(keys=["\ud800", "a/\udcff"])
def test_no_keys_together_leave_their_bucket(tmp_path_factory: pytest.TempPathFactory, keys: list[str]) -> None:
    folder = tmp_path_factory.mktemp("world")
    world = World(folder)

    async def body(grid: FolderGrid) -> None:
        held: dict[str, bytes] = {}
        for number, key in enumerate(keys):
            try:
                await put(grid, "bucket", key, b"%d" % number)
                held[key] = b"%d" % number
            except Refused as refused:
                assert refused.reason is Reason.INVALID
        for key, data in held.items():
            assert await read(grid, "bucket", key) == data
        assert {one.key for one in await grid.list("bucket")} == set(held)
        assert set(os.listdir(world.root)) <= {".holdfast", "bucket"}

    world.run(body)
    shutil.rmtree(folder)


@pytest.mark.parametrize("bucket", HOSTILE_BUCKETS, ids=ascii)
def test_no_bucket_leaves_the_grid(tmp_path: Path, bucket: str) -> None:
    world = World(tmp_path)

    async def body(grid: FolderGrid) -> None:
        place = Place(bucket, "outside/secret")
        for ask in (
            grid.get(place),
            grid.head(place),
            grid.delete(place),
            grid.list(bucket),
            put(grid, bucket, "secret", b"x"),
        ):
            try:
                found = await ask
            except Refused as refused:
                assert refused.reason in (Reason.INVALID, Reason.ABSENT)
            else:
                assert found in ((), None), "something was found there"
        assert os.listdir(world.root) == [".holdfast"]

    world.run(body)


PLANTED = {
    "a directory of keys": ("bucket/dir", "dir/secret", "outside"),
    "a directory further down": ("bucket/a/b/dir", "a/b/dir/sub/secret", "outside"),
    "the bucket": ("bucket", "secret", "outside"),
    "the hard tree": ("bucket/.holdfast", "../secret", "outside"),
    "a directory of the hard tree": ("bucket/.holdfast/dir%", "dir//x", "outside"),
    "up": ("bucket/dir", "dir/outside/secret", "."),
    "to itself": ("bucket/dir", "dir/dir/secret", "grid/bucket/dir"),
    "to the private area": ("bucket/dir", "dir/identity", "grid/.holdfast"),
    "to another bucket": ("bucket/dir", "dir/theirs", "grid/other"),
    "an object": ("bucket/object", "object", "outside/secret"),
}
"""What another program made a symbolic link, a key that would lead through it, and where it points."""


@pytest.mark.parametrize(("link", "key", "target"), PLANTED.values(), ids=PLANTED.keys())
def test_a_planted_link_is_never_followed(tmp_path: Path, link: str, key: str, target: str) -> None:
    world = World(tmp_path)
    bucket, _, _ = link.partition("/")

    async def body(grid: FolderGrid) -> None:
        await put(grid, "other", "theirs", b"theirs")
        path = world.root / link
        path.parent.mkdir(parents=True, exist_ok=True)
        path.symlink_to(tmp_path / target, target_is_directory=True)
        place = Place(bucket, key)
        for ask in (grid.get(place), grid.head(place)):
            with pytest.raises(GridError):
                await ask
        assert await grid.list(bucket) == ()
        await grid.delete(place)
        if link == "bucket/object":
            return  # The link itself was deleted, as a file that is none.
        assert path.is_symlink()
        try:
            await put(grid, bucket, key, b"ours")
        except (Refused, Unavailable):
            pass
        else:
            assert await read(grid, bucket, key) == b"ours"
            assert [one.key for one in await grid.list(bucket)] == [key]
            await grid.delete(place)
        assert path.is_symlink()
        assert await read(grid, "other", "theirs") == b"theirs"
        assert os.listdir(world.root / "other") == ["theirs"]

    world.run(body)


@pytest.mark.parametrize("name", [".holdfast", ".holdfast/tmp", ".holdfast/identity"])
def test_a_private_area_that_is_a_link_is_not_used(tmp_path: Path, name: str) -> None:
    world = World(tmp_path)
    world.root.mkdir()
    target = world.outside / ("secret" if name.endswith("identity") else "sub")
    (world.root / name).parent.mkdir(exist_ok=True)
    (world.root / name).symlink_to(target)
    before = world.others()

    async def main() -> None:
        grid = FolderGrid("grid", world.root, clock=SystemClock())
        try:
            with pytest.raises(Refused) as told:
                await grid.attach("")
            assert "symbolic link" in str(told.value) and SECRET_TEXT.decode() not in str(told.value)
        finally:
            await grid.close()

    asyncio.run(main())
    assert world.others() == before


# --- by way of HTTP ---

RAW_PATHS = {
    "/bucket/%2e%2e/%2e%2e/outside/secret": 200,
    "/bucket/%2E%2E%2Foutside%2Fsecret": 200,
    "/bucket/..%2f..%2foutside%2fsecret": 200,
    "/bucket/%252e%252e/outside": 200,
    "/bucket/..%5c..%5coutside": 200,
    "/bucket//../../outside/secret": 200,
    "/bucket/./../outside": 200,
    "/bucket/%2Fetc%2Fpasswd": 200,
    "/bucket/.holdfast/identity": 200,
    "/bucket/.holdfast%2f..%2f..%2fidentity": 200,
    "/bucket/%2eholdfast/tmp/x": 200,
    "/bucket/..;/outside": 200,
    "/bucket/" + "%2e%2e/" * 100 + "etc/passwd": 200,
    "/bucket/%ef%bc%8e%ef%bc%8e/outside": 200,
    "/bucket/%c0%ae%c0%ae/outside": 400,
    "/bucket/%c0%af": 400,
    "/bucket/%e0%80%ae": 400,
    "/bucket/%f0%80%80%ae": 400,
    "/bucket/%ed%a0%80": 400,
    "/bucket/%00": 400,
    "/bucket/a%00/../outside": 400,
    "/bucket/%2": 400,
    "/bucket/%zz": 400,
    "/bucket/%u002e": 400,
    "/bucket/" + "a" * 1025: 400,
    "/../outside/secret": 404,
    "/%2e%2e/outside": 404,
    "/%2e%2e%2foutside/secret": 404,
    "/.holdfast/identity": 404,
    "/.holdfast%2ftmp/x": 404,
    "/./bucket/x": 404,
    "//etc/passwd": 400,
    "/%2f/etc": 400,
    "/bucket%2f..%2foutside": 200,
    "/bucket%00/x": 400,
}
"""Targets as they are sent, and how a signed PUT to them is answered."""


def test_no_target_leads_out_of_the_grids(tmp_path: Path) -> None:
    world = World(tmp_path)
    data = tmp_path / "outside" / "sub"

    async def main() -> None:
        async with engine(data, [FolderGrid("a", world.root, clock=SystemClock())]) as made:
            await made.store.create_bucket(CreateBucket("bucket"))
            gateway = Gateway(
                made.store,
                guard=guard_of(made.site.index),
                region=REGION,
                domain="",
                clock=StillClock(),
                teller=Teller(),
            )
            async with serving(gateway.handle) as (_, port):
                client = await RawClient.connect(port)
                for target, status in RAW_PATHS.items():
                    written = await client.ask(_signed("PUT", target, b"ours"))
                    got = await client.ask(_signed("GET", target))
                    assert written.status == status, f"{target}: {written.status} {written.body!r}"
                    assert got.status == status and SECRET_TEXT not in got.body, f"{target}: {got.status}"
                    assert status != 200 or got.body == b"ours"
                    for attack in (
                        _signed("PUT", "/bucket/copied", headers={"x-amz-copy-source": target}),
                        _signed("DELETE", target),
                    ):
                        answer = await client.ask(attack)
                        assert answer.status < 500 and SECRET_TEXT not in answer.body, f"{attack!r}: {answer.status}"
                for name in HOSTILE_BUCKETS:
                    if name.isprintable() and name and "/" not in name:
                        answer = await client.ask(_signed("PUT", f"/{name}"))
                        assert answer.status == 400 and b"InvalidBucketName" in answer.body, name
            await made.converge()
            assert set(os.listdir(world.root)) <= {".holdfast", "bucket", "photos"}
            assert sorted(path.name for path in world.outside.iterdir()) == ["secret", "sub"]
            assert (world.outside / "secret").read_bytes() == SECRET_TEXT

    asyncio.run(main())


def _signed(method: str, target: str, body: bytes = b"", *, headers: dict[str, str] | None = None) -> bytes:
    """A request for a target as it stands, signed for what it decodes to (or for anything, when it decodes to nothing)."""
    path = unquote(target, errors="replace")
    sent = sign_headers(
        method, path, (), {"host": "x", **(headers or {})}, payload="UNSIGNED-PAYLOAD", access_key=ACCESS, secret_key=SECRET,
        region=REGION, now_ms=NOW_MS,
    )  # fmt: skip
    return head_of(method, target, {**sent, "content-length": str(len(body))}) + body
