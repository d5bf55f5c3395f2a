"""Settings, tags, and a bucket as a website, over the real index, also with a grid down."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from holdfast.errors import S3Error
from holdfast.grids.memory import MemoryGrid
from holdfast.model import Facts, Marks
from holdfast.s3 import CopyObject, CopySource, CreateBucket, GetObject, ObjectGot, PutObject
from holdfast.s3.cors import Cors, CorsRule, Preflight
from holdfast.s3.logging import Logging
from holdfast.s3.settings import DeleteSetting, GetSetting, PutSetting
from holdfast.s3.tagging import DeleteObjectTagging, GetObjectTagging, PutObjectTagging
from holdfast.s3.website import Redirect, RoutingRule, Website
from holdfast.serve.website import Shown, visit
from holdfast.testing.faults import Fault, Kind
from holdfast.wire.operations import route
from holdfast.wire.render import Reply
from holdfast.wire.request import Request, parse_request
from tests.engine import BUCKET, Bytes, Engine, engine
from tests.promises.troubled import Troubled

Scene = Callable[[Engine], Awaitable[None]]


def play(tmp_path: Path, scene: Scene) -> None:
    async def main() -> None:
        async with engine(tmp_path, [MemoryGrid("a"), MemoryGrid("b")]) as made:
            await scene(made)

    asyncio.run(main())


async def tags(made: Engine, key: str) -> dict[str, str]:
    return (await made.store.get_object_tagging(GetObjectTagging(BUCKET, key))).tags


def test_a_change_of_tags_makes_no_version_and_no_debt(tmp_path: Path) -> None:
    async def scene(made: Engine) -> None:
        await made.store.put_object(PutObject(BUCKET, "k", Facts(), marks=Marks(tags={"a": "1"})), Bytes(b"x"))
        assert await made.settle() == 0
        before = (await made.got(GetObject(BUCKET, "k")))[0].version
        await made.store.put_object_tagging(PutObjectTagging(BUCKET, "k", tags={"b": "2"}))
        after = (await made.got(GetObject(BUCKET, "k")))[0].version
        assert (after.seq, after.modified_ms, after.copies) == (before.seq, before.modified_ms, before.copies)
        assert await tags(made, "k") == {"b": "2"}
        assert (await made.site.index.usage()).debts == 0
        await made.store.copy_object(CopyObject(BUCKET, "c", CopySource(BUCKET, "k"), False, Facts()))
        await made.store.delete_object_tagging(DeleteObjectTagging(BUCKET, "k"))
        assert await tags(made, "k") == {}
        assert await tags(made, "c") == {"b": "2"}

    play(tmp_path, scene)


def test_tags_change_while_a_grid_is_down_and_are_kept_when_it_catches_up(tmp_path: Path) -> None:
    async def main() -> None:
        troubled = Troubled()
        async with troubled.engine(tmp_path) as made:
            troubled.faults["b"].inject(Fault(Kind.REFUSE))
            await made.store.put_object(PutObject(BUCKET, "k", Facts(), marks=Marks(tags={"a": "1"})), Bytes(b"x"))
            await made.store.put_object_tagging(PutObjectTagging(BUCKET, "k", tags={"b": "2"}))
            assert await tags(made, "k") == {"b": "2"}
            troubled.heal()
            await troubled.converge(made)
            assert await made.copies("k") == {"a", "b"}
            assert await tags(made, "k") == {"b": "2"}

    asyncio.run(main())


def test_a_log_needs_a_bucket_to_go_to(tmp_path: Path) -> None:
    async def scene(made: Engine) -> None:
        ask = PutSetting(BUCKET, "logging", Logging("logs", "p/"))
        with pytest.raises(S3Error, match="InvalidTargetBucketForLogging"):
            await made.store.put_setting(ask)
        assert (await made.store.get_setting(GetSetting(BUCKET, "logging"))).data is None
        await made.store.create_bucket(CreateBucket("logs"))
        await made.store.put_setting(ask)
        assert (await made.store.get_setting(GetSetting(BUCKET, "logging"))).data is not None

    play(tmp_path, scene)


def test_rules_of_sharing_count_at_once(tmp_path: Path) -> None:
    async def scene(made: Engine) -> None:
        ask = Preflight(BUCKET, "k", "https://a", "GET")
        assert not (await made.store.preflight(ask)).configured
        await made.store.put_setting(PutSetting(BUCKET, "cors", Cors((CorsRule("", ("*",), ("GET",)),))))
        shared = await made.store.preflight(ask)
        assert shared.sharing is not None
        assert shared.sharing.origin == "*"
        await made.store.delete_setting(DeleteSetting(BUCKET, "cors"))
        assert not (await made.store.preflight(ask)).configured
        with pytest.raises(S3Error, match="NoSuchBucket"):
            await made.store.preflight(Preflight("absent", "", "https://a", "GET"))

    play(tmp_path, scene)


# --- websites ---

SITE = Website(
    "index.html",
    "error.html",
    (
        RoutingRule(Redirect(prefix="new/"), "old/"),
        RoutingRule(Redirect("elsewhere.example", "https", 302, True, key="gone.html"), "gone/", 404),
    ),
)
PAGES = {
    "index.html": b"home",
    "docs/index.html": b"docs",
    "new/page": b"page",
    "error.html": b"not here",
    "dir/sub/index.html": b"sub",
    "a b": b"blank",
}


async def seen(made: Engine, path: str, site: Website = SITE, method: str = "GET", **headers: str) -> tuple[int, str]:
    """Status, and the page or where to go."""

    async def read(wanted: Request) -> tuple[ObjectGot, GetObject]:
        ask = route(wanted)
        assert ask.parse is not None
        value = ask.parse(wanted)
        return await made.store.get_object(value), value

    host = f"{BUCKET}.site.example"
    pairs = [
        (b"host", host.encode()),
        *((name.replace("_", "-").encode(), text.encode()) for name, text in headers.items()),
    ]
    request = parse_request(method, path.encode(), pairs, domain="example", website="site.example")
    assert (request.bucket, request.website) == (BUCKET, True)
    found = await visit(site, request, read, secure=False)
    if isinstance(found, Reply):
        return found.status, dict(found.headers)["Location"].replace(host, "HOST")
    assert isinstance(found, Shown)
    return found.status or 200, (found.got.data or b"").decode()


def test_a_path_of_a_site_means_what_s3_says(tmp_path: Path) -> None:
    async def scene(made: Engine) -> None:
        for key, page in PAGES.items():
            await made.put(key, page)
        await made.put("moved", b"", facts=Facts({"x-amz-website-redirect-location": "/new/page"}))
        visits = {
            "/": (200, "home"),
            "/docs/": (200, "docs"),
            "/docs": (302, "/docs/"),
            "/dir/sub": (302, "/dir/sub/"),
            "/a%20b": (200, "blank"),
            "/a%20b?versionId=x&uploads": (200, "blank"),
            "/old/page": (301, "http://HOST/new/page"),
            "/moved": (301, "/new/page"),
            "/gone/x": (302, "https://elsewhere.example/gone.html"),
            "/absent": (404, "not here"),
            "/dir/": (404, "not here"),
        }
        assert {path: await seen(made, path) for path in visits} == visits
        assert await seen(made, "/", range="bytes=1-2") == (200, "om")
        assert await seen(made, "/absent", range="bytes=1-2") == (404, "not here")
        assert (await seen(made, "/", method="HEAD"))[0] == 200
        with pytest.raises(S3Error, match="MethodNotAllowed"):
            await seen(made, "/", method="PUT")
        with pytest.raises(S3Error, match="NoSuchKey"):
            await seen(made, "/absent", Website("index.html", "no such page"))
        with pytest.raises(S3Error, match="NotModified"):
            await seen(made, "/", if_none_match="*")
        everything = Website(elsewhere=Redirect("other.example", "https"))
        assert await seen(made, "/a%20b", everything) == (301, "https://other.example/a%20b")

    play(tmp_path, scene)
