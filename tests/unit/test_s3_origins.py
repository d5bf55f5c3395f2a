"""Bodies that lie elsewhere at the same provider: copied there and looked at, or refused so that they can be sent."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from holdfast.config.notation import Secret
from holdfast.errors import GridError, Reason, Refused, Unavailable, Uncertain
from holdfast.grids.grid import Label, Origin
from holdfast.grids.s3.credentials import Keys, KeySource, NoKeys
from holdfast.grids.s3.grid import S3Grid
from holdfast.grids.s3.labels import headers_of
from holdfast.limits import S3_ALOOF_S
from holdfast.model import Place
from tests.promises.troubled import LeapClock
from tests.providers import FixedKeys, s3_grid
from tests.unit.scripted import Reaction, Scripted, error, reply, serving

PLACE = Place("photos", "black cat.jpg")
LABEL = Label(7, "client-etag", 1_700_000_000_000, {"content-type": "image/jpeg"}, {"colour": "black"})
BODY = b"meow"
COPIED = reply(200, b'<CopyObjectResult><ETag>"e1"</ETag></CopyObjectResult>')


def held(size: int = len(BODY), label: Label = LABEL) -> Reaction:
    """The answer to HEAD."""
    shown = {"etag": '"e2"', "last-modified": "Tue, 24 Nov 2026 20:00:00 GMT", **headers_of(label, room_bytes=2048)}
    return reply(200, length=size, headers=shown)


class Lying:
    """A body with origins. It notes whether anybody read it."""

    data: bytes | None = None
    files: tuple[Path, ...] = ()
    handover = False

    def __init__(self, *origins: Origin, size: int = len(BODY)) -> None:
        self.origins = origins
        self.size = size
        self.read = False

    async def stream(self) -> AsyncIterator[bytes]:
        self.read = True
        yield BODY


class NoKeysAtAll:
    async def keys(self) -> Keys:
        raise NoKeys("none")

    def refused(self) -> None:
        return


def origin_at(
    origin: str, *, url: str = "s3://other/deep", row: str = "holdfast", keys: KeySource | None = None
) -> Origin:
    grid = s3_grid(url, origin, row=row, keys=keys)
    return Origin(grid.capabilities.address, PLACE, "theirs")


async def brought(grid: S3Grid, body: Lying, label: Label = LABEL) -> str:
    return await grid.publish(await grid.stage(PLACE, body, label))


async def ready(script: Scripted, *, row: str = "holdfast", clock: LeapClock | None = None) -> S3Grid:
    grid = s3_grid("s3://bucket", script.origin, row=row, clock=clock)
    await grid.attach(await grid.attach(""))
    return grid


def outcome(*reactions: Reaction) -> tuple[GridError, list[str]]:
    """What comes of a body whose origin is at the same provider, and what was asked for."""

    async def run() -> tuple[GridError, list[str]]:
        async with serving() as script:
            grid = await ready(script)
            script.then(*reactions)
            body = Lying(origin_at(script.origin))
            with pytest.raises(GridError) as caught:
                await brought(grid, body)
            assert not body.read
            await grid.close()
            return caught.value, script.asked

    return asyncio.run(run())


def test_a_body_that_lies_at_the_same_provider_is_copied_there_under_its_label_and_never_read() -> None:
    async def run() -> None:
        async with serving() as script:
            grid = await ready(script)
            script.then(COPIED, held())
            body = Lying(origin_at(script.origin))
            staged = await grid.stage(PLACE, body, LABEL)
            assert script.asked == []
            assert staged.pending_bytes == len(BODY)
            assert await grid.publish(staged) == "e2"
            assert not body.read
            assert script.asked == ["PUT /bucket/photos/black%20cat.jpg", "HEAD /bucket/photos/black%20cat.jpg"]
            asked = script.seen[-2]
            assert asked.body == b""
            assert asked.headers["x-amz-copy-source"] == "/other/deep/photos/black%20cat.jpg"
            assert asked.headers["x-amz-copy-source-if-match"] == '"theirs"'
            assert asked.headers["x-amz-metadata-directive"] == "REPLACE"
            assert asked.headers.items() >= headers_of(LABEL, room_bytes=2048).items()
            await grid.close()

    asyncio.run(run())


@pytest.mark.parametrize(
    "answer",
    [
        error(412, "PreconditionFailed"),
        error(404, "NoSuchKey"),
        error(404, "NoSuchBucket"),
        error(403, "AccessDenied"),
        error(501, "NotImplemented"),
        error(400, "InvalidRequest"),
        reply(200, b"\n<Error><Code>AccessDenied</Code></Error>"),
        reply(200, b"<Error><Code>PreconditionFailed</Code></Error>"),
    ],
)
def test_a_provider_that_will_not_copy_is_a_mismatch_so_that_the_bytes_are_sent(answer: Reaction) -> None:
    trouble, asked = outcome(answer)
    assert isinstance(trouble, Refused)
    assert trouble.reason is Reason.MISMATCH
    assert "no copy from bucket other" in trouble.detail
    assert len(asked) == 1


@pytest.mark.parametrize(
    "answers",
    [
        [error(500, "InternalError")],
        [Reaction(b"", "close")],
        [reply(200, b"<Error><Code>InternalError</Code></Error>")],
        [reply(200, b"<html>")],
        [reply(200)],
        [COPIED, error(503, "SlowDown")],
        [COPIED, reply(404)],
        [COPIED, held(size=3)],
        [COPIED, held(label=Label(6, "older", 0, {}, {}))],
        [COPIED, reply(200, length=4, etag='"e2"', last_modified="Tue, 24 Nov 2026 20:00:00 GMT")],
    ],
)
def test_a_copy_that_may_be_there_or_is_not_what_was_asked_for_is_uncertain(answers: list[Reaction]) -> None:
    trouble, _ = outcome(*answers)
    assert isinstance(trouble, Uncertain)


def test_a_provider_that_is_asked_too_much_is_not_sent_the_bytes_instead() -> None:
    trouble, _ = outcome(error(503, "SlowDown", retry_after="9"))
    assert isinstance(trouble, Unavailable)
    assert trouble.retry_after_s == 9


def test_a_provider_that_cannot_be_reached_has_not_answered() -> None:
    async def run() -> None:
        async with serving() as script:
            grid = await ready(script)
            staged = await grid.stage(PLACE, Lying(origin_at(script.origin)), LABEL)
        await grid.close()
        with pytest.raises(GridError) as caught:
            await grid.publish(staged)
        assert not isinstance(caught.value, Refused)

    asyncio.run(run())


@pytest.mark.parametrize(
    "why",
    ["another key", "no key", "another server", "another vendor", "no address", "too large", "no room for a label"],
)
def test_what_cannot_be_copied_there_is_sent_as_always(why: str) -> None:
    async def run() -> None:
        async with serving() as script:
            grid = await ready(script)
            origin = {
                "another key": lambda: origin_at(script.origin, keys=FixedKeys("another")),
                "no key": lambda: origin_at(script.origin, keys=NoKeysAtAll()),
                "another server": lambda: origin_at("http://127.0.0.1:1"),
                "another vendor": lambda: origin_at(script.origin, row="minio"),
                "no address": lambda: Origin(None, PLACE, "theirs"),
            }.get(why, lambda: origin_at(script.origin))()
            label = LABEL
            if why == "no room for a label":
                label = Label(7, "e", 0, {}, {"note": "x" * 2000})
            if why == "too large":
                body = Lying(origin, size=6 << 30)
                script.then(error(403, "AccessDenied"))
                with pytest.raises(Unavailable):
                    await grid.stage(PLACE, body, label)
                assert script.asked == ["POST /bucket/photos/black%20cat.jpg?uploads="]
            else:
                body = Lying(origin)
                script.then(reply(200, etag='"e1"'))
                assert await brought(grid, body, label) == "e1"
                assert body.read
                assert script.seen[-1].body == BODY
                assert "x-amz-copy-source" not in script.seen[-1].headers
            await grid.close()

    asyncio.run(run())


def test_a_vendor_whose_conditional_copies_are_not_documented_is_not_asked_for_any() -> None:
    async def run() -> None:
        async with serving() as script:
            grid = await ready(script, row="other")
            script.then(reply(200, etag='"e1"'))
            body = Lying(origin_at(script.origin, row="other"))
            assert await brought(grid, body) == "e1"
            assert body.read
            await grid.close()

    asyncio.run(run())


def test_keys_that_are_rotated_are_compared_when_they_are_used() -> None:
    async def run() -> None:
        async with serving() as script:
            grid = await ready(script)
            keys = FixedKeys("old")
            origin = origin_at(script.origin, keys=keys)
            keys._keys = await FixedKeys().keys()
            script.then(COPIED, held())
            assert await brought(grid, Lying(origin)) == "e2"
            await grid.close()

    asyncio.run(run())


def test_a_bucket_that_may_not_be_copied_from_is_left_alone_for_a_while_and_others_are_not() -> None:
    async def run() -> None:
        clock = LeapClock()
        async with serving() as script:
            grid = await ready(script, clock=clock)
            denied, fine = origin_at(script.origin), origin_at(script.origin, url="s3://fine")
            script.then(error(403, "AccessDenied"))
            with pytest.raises(Refused):
                await brought(grid, Lying(denied))
            script.then(reply(200, etag='"sent"'))
            assert await brought(grid, Lying(denied)) == "sent"
            script.then(COPIED, held())
            assert await brought(grid, Lying(denied, fine)) == "e2"
            assert script.seen[-2].headers["x-amz-copy-source"].startswith("/fine/")
            clock.leap(S3_ALOOF_S)
            script.then(COPIED, held())
            assert await brought(grid, Lying(denied)) == "e2"
            await grid.close()

    asyncio.run(run())


def test_one_object_that_is_another_one_by_now_says_nothing_about_the_next() -> None:
    async def run() -> None:
        async with serving() as script:
            grid = await ready(script)
            origin = origin_at(script.origin)
            script.then(error(412, "PreconditionFailed"))
            with pytest.raises(Refused):
                await brought(grid, Lying(origin))
            script.then(COPIED, held())
            assert await brought(grid, Lying(origin)) == "e2"
            await grid.close()

    asyncio.run(run())


def test_an_address_shows_no_secret() -> None:
    grid = s3_grid("s3://bucket", "http://127.0.0.1:1", keys=FixedKeys("access", "hush"))
    assert "hush" not in repr(grid.capabilities)
    assert "hush" not in repr(Keys("access", Secret("hush")))
