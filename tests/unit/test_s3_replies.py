"""What an `s3` grid makes of replies and of silence: each class once, and never "not there" for "could not ask"."""

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from holdfast.config.notation import Secret
from holdfast.errors import Corrupt, GridError, Reason, Refused, Unavailable, Uncertain
from holdfast.events import Event, Noted, Teller
from holdfast.grids.grid import Label
from holdfast.grids.s3.credentials import Keys
from holdfast.grids.s3.grid import S3Grid
from holdfast.grids.s3.replies import date_ms, iso_ms, retry_after_s
from holdfast.grids.sources import BytesSource
from holdfast.model import Place, Span
from holdfast.testing import certificates
from tests.providers import s3_grid
from tests.unit.scripted import Reaction, Scripted, attached, error, reply, serving

PLACE = Place("photos", "cat.jpg")
LABEL = Label(7, "client-etag", 1_700_000_000_000, {"content-type": "image/jpeg"}, {"colour": "black"})
LARGE = b"x" * (20 * 1024 * 1024)
BEGUN = reply(200, b"<InitiateMultipartUploadResult><UploadId>u1</UploadId></InitiateMultipartUploadResult>")
GOOD = {"etag": '"e1"', "last_modified": "Tue, 24 Nov 2026 20:00:00 GMT"}

Act = Callable[[S3Grid], Awaitable[object]]


async def get(grid: S3Grid) -> bytes:
    download = await grid.get(PLACE, if_match="e1")
    try:
        return b"".join([piece async for piece in download.stream()])
    finally:
        await download.close()


async def head(grid: S3Grid) -> object:
    return await grid.head(PLACE)


async def put(grid: S3Grid) -> str:
    return await grid.publish(await grid.stage(PLACE, BytesSource(b"meow"), LABEL))


async def delete(grid: S3Grid) -> None:
    await grid.delete(PLACE)


async def listing(grid: S3Grid) -> object:
    return await grid.list("photos")


async def copy(grid: S3Grid) -> str:
    return await grid.copy(PLACE, Place("photos", "dog.jpg"), if_match="e1", label=LABEL)


READS: list[Act] = [get, head, listing]
CHANGES: list[Act] = [put, delete, copy]


def outcome(act: Act, *reactions: Reaction, row: str = "holdfast", url: str = "s3://bucket") -> GridError:
    """The error of an operation whose requests meet these reactions."""

    async def run() -> GridError:
        async with serving() as script, attached(script, url, row) as grid:
            script.then(*reactions)
            with pytest.raises(GridError) as caught:
                await act(grid)
            return caught.value

    return asyncio.run(run())


def result(act: Act, *reactions: Reaction, row: str = "holdfast") -> tuple[object, Scripted]:
    async def run() -> tuple[object, Scripted]:
        async with serving() as script, attached(script, row=row) as grid:
            script.then(*reactions)
            return await act(grid), script

    return asyncio.run(run())


# --- not there, and what is not that ---


@pytest.mark.parametrize("act", [get, head, copy])
def test_only_no_such_key_is_absent(act: Act) -> None:
    found = outcome(act, reply(404) if act is head else error(404, "NoSuchKey"))
    assert isinstance(found, Refused)
    assert found.reason is Reason.ABSENT


@pytest.mark.parametrize("act", [get, listing, *CHANGES])
def test_a_missing_bucket_is_never_an_absent_object(act: Act) -> None:
    found = outcome(act, error(404, "NoSuchBucket"))
    assert isinstance(found, Unavailable)
    assert found.lasting
    assert 'the bucket "bucket" does not exist' in found.detail


def test_the_bodiless_404_of_head_is_not_absent_when_it_is_the_bucket_that_is_missing() -> None:
    async def run() -> GridError:
        async with serving() as script, attached(script) as grid:
            script.bucket_missing = True
            script.then(reply(404))
            with pytest.raises(GridError) as caught:
                await head(grid)
            return caught.value

    found = asyncio.run(run())
    assert isinstance(found, Unavailable)
    assert 'the bucket "bucket" does not exist' in found.detail


def test_a_404_that_no_s3_server_says_is_not_absent() -> None:
    found = outcome(get, reply(404, b"<html>nginx</html>", content_type="text/html"))
    assert isinstance(found, Unavailable)
    assert "check endpoint" in found.detail


def test_absent_is_not_believed_where_the_identity_is_gone() -> None:
    async def run() -> GridError:
        async with serving() as script, attached(script) as grid:
            script.identity = b""
            grid._identity._seen_s = float("-inf")
            script.then(error(404, "NoSuchKey"))
            with pytest.raises(GridError) as caught:
                await get(grid)
            return caught.value

    found = asyncio.run(run())
    assert isinstance(found, Unavailable)
    assert "identity" in found.detail


@pytest.mark.parametrize("url", ["s3://bucket", "s3://{bucket}"])
@pytest.mark.parametrize("act", [get, head, copy])
def test_absent_is_not_believed_of_a_place_that_came_back_empty_a_moment_ago(act: Act, url: str) -> None:
    async def run() -> GridError:
        async with serving() as script, attached(script, url) as grid:
            script.identity = b""
            script.then(reply(404) if act is head else error(404, "NoSuchKey"))
            with pytest.raises(GridError) as caught:
                await act(grid)
            return caught.value

    found = asyncio.run(run())
    assert isinstance(found, Unavailable)
    assert "identity is missing" in found.detail


def test_a_missing_bucket_is_no_answer_of_a_place_that_came_back_empty_a_moment_ago() -> None:
    async def run() -> None:
        async with serving() as script, attached(script, "s3://{bucket}") as grid:
            script.identity = b""
            script.then(error(404, "NoSuchBucket"))
            with pytest.raises(Unavailable, match="identity is missing"):
                await get(grid)

    asyncio.run(run())


@pytest.mark.parametrize("silence", [Reaction(b"", "reset"), error(404, "NoSuchBucket"), error(500, "InternalError")])
def test_nothing_is_written_after_a_silence_into_a_place_that_came_back_empty(silence: Reaction) -> None:
    async def run() -> None:
        async with serving() as script, attached(script) as grid:
            script.then(silence, reply(200, etag='"new"'))
            with pytest.raises((Unavailable, Uncertain)):
                await put(grid)
            marker, script.identity = script.identity, b""
            with pytest.raises(Unavailable, match="identity is missing"):
                await put(grid)
            assert len(script.asked) == 1, "only the first one was sent"
            script.identity = marker
            assert await put(grid) == "new"

    asyncio.run(run())


def test_a_provider_that_asks_for_rest_is_not_asked_who_it_is() -> None:
    async def run() -> None:
        async with serving() as script, attached(script) as grid:
            looks = len(script.seen)
            script.then(error(503, "SlowDown"), reply(200, etag='"new"'))
            with pytest.raises(Unavailable):
                await put(grid)
            assert await put(grid) == "new"
            assert len(script.seen) == looks + 2

    asyncio.run(run())


def test_a_missing_bucket_is_an_answer_where_each_clients_bucket_is_one() -> None:
    async def run() -> None:
        async with serving() as script, attached(script, "s3://{bucket}") as grid:
            script.then(*[error(404, "NoSuchBucket")] * 3)
            grid._identity._seen_s = float("-inf")
            with pytest.raises(Refused) as caught:
                await get(grid)
            assert caught.value.reason is Reason.ABSENT
            await grid.delete(PLACE)
            assert await grid.list("photos") == ()
            script.then(error(404, "NoSuchBucket"), reply(200), reply(200, etag='"new"'))
            assert await put(grid) == "new"
            assert script.asked[-2:] == ["PUT /photos", "PUT /photos/cat.jpg"]

    asyncio.run(run())


# --- refusals that say something about the grid, not about the object ---


@pytest.mark.parametrize("act", [get, listing, *CHANGES])
@pytest.mark.parametrize(
    ("status", "code", "told"),
    [
        (403, "InvalidAccessKeyId", "check access_key"),
        (403, "SignatureDoesNotMatch", "check secret_key"),
        (403, "AccessDenied", "permission"),
        (403, "AllAccessDisabled", "ask the provider"),
        (400, "ExpiredToken", "session_token"),
        (401, "Unauthorized", "refuses our credentials"),
        (403, "SomethingNew", "refuses our credentials"),
        (400, "InvalidBucketName", "check url"),
        (501, "NotImplemented", "check provider"),
    ],
)
def test_a_refusal_of_ourselves_is_a_lasting_silence_with_a_remedy(act: Act, status: int, code: str, told: str) -> None:
    found = outcome(act, error(status, code))
    assert isinstance(found, Unavailable)
    assert found.lasting
    assert not found.shielded
    assert told in found.detail
    assert code in found.detail


def test_a_403_without_a_body_is_not_absent() -> None:
    found = outcome(head, reply(403))
    assert isinstance(found, Unavailable)
    assert found.lasting


@pytest.mark.parametrize("act", [get, listing, *CHANGES])
@pytest.mark.parametrize(("status", "code"), [(400, "SomethingNew"), (422, "InvalidArgument")])
def test_a_request_that_the_server_does_not_like_is_no_evidence_against_the_server(
    act: Act, status: int, code: str
) -> None:
    """One client's odd keys must not shut the grid for everybody."""
    found = outcome(act, error(status, code))
    assert isinstance(found, Refused)
    assert found.reason is Reason.INVALID
    assert code in found.detail


@pytest.mark.parametrize("code", ["KeyTooLongError", "MetadataTooLarge", "EntityTooLarge", "XMinioInvalidObjectName"])
def test_what_can_never_be_held_is_invalid(code: str) -> None:
    found = outcome(put, error(400, code))
    assert isinstance(found, Refused)
    assert found.reason is Reason.INVALID


@pytest.mark.parametrize("act", [get, copy])
def test_412_is_another_copy_than_was_asked_for(act: Act) -> None:
    found = outcome(act, error(412, "PreconditionFailed"))
    assert isinstance(found, Refused)
    assert found.reason is Reason.MISMATCH


# --- busy, broken, and whether it acted ---


@pytest.mark.parametrize("act", [get, listing, *CHANGES])
@pytest.mark.parametrize(
    ("status", "code"), [(503, "SlowDown"), (429, "TooManyRequests"), (503, ""), (400, "RequestTimeout")]
)
def test_throttling_certainly_did_not_act(act: Act, status: int, code: str) -> None:
    found = outcome(act, error(status, code, retry_after="17") if code else reply(status, retry_after="17"))
    assert isinstance(found, Unavailable)
    assert not found.lasting
    assert found.retry_after_s == (None if code == "RequestTimeout" else 17.0)


@pytest.mark.parametrize("status", [500, 502, 504])
def test_a_server_error_is_uncertain_only_for_what_could_be_seen(status: int) -> None:
    assert all(isinstance(outcome(act, reply(status)), Uncertain) for act in CHANGES)
    assert all(isinstance(outcome(act, reply(status)), Unavailable) for act in READS)
    begins = outcome(lambda grid: grid.stage(PLACE, BytesSource(LARGE), LABEL), reply(status))
    assert isinstance(begins, Unavailable)


@pytest.mark.parametrize("end", ["close", "reset"])
def test_a_connection_that_breaks_after_sending_is_uncertain_for_changes(end: str) -> None:
    silent = Reaction(b"", end)
    assert all(isinstance(outcome(act, silent), Uncertain) for act in CHANGES)
    assert all(isinstance(outcome(act, silent, silent), Unavailable) for act in READS)


def test_a_change_is_sent_once_however_its_connection_ends() -> None:
    async def run() -> list[str]:
        async with serving() as script, attached(script) as grid:
            for act in CHANGES[:2]:
                script.then(Reaction(b"", "close"), reply(200, etag='"e"'))
                with pytest.raises(Uncertain):
                    await act(grid)
                script.reactions.clear()
            return script.asked

    assert asyncio.run(run()) == ["PUT /bucket/photos/cat.jpg", "DELETE /bucket/photos/cat.jpg"]


def test_a_read_meets_a_connection_that_was_just_closed_and_tries_a_fresh_one() -> None:
    body, script = result(get, Reaction(b"", "close"), reply(200, b"meow", headers=GOOD))
    assert body == b"meow"
    assert script.asked == ["GET /bucket/photos/cat.jpg"] * 2


def test_a_reset_in_the_middle_of_sending_is_uncertain() -> None:
    async def act(grid: S3Grid) -> str:
        return await grid.publish(await grid.stage(PLACE, BytesSource(LARGE[: 8 * 1024 * 1024]), LABEL))

    assert isinstance(outcome(act, Reaction(b"", "reset", reads=False)), Uncertain)


def test_an_early_refusal_is_heard_while_the_body_is_still_being_sent() -> None:
    async def act(grid: S3Grid) -> str:
        return await grid.publish(await grid.stage(PLACE, BytesSource(LARGE[: 8 * 1024 * 1024]), LABEL))

    early = error(503, "SlowDown")
    found = outcome(act, Reaction(early.data, "keep", reads=False))
    assert isinstance(found, Unavailable | Uncertain)


def test_a_refused_connection_certainly_did_not_act() -> None:
    async def run() -> list[GridError]:
        async with serving() as script:
            origin = script.origin
        other = s3_grid("s3://bucket", origin)
        other._identity._identity, other._identity._claimed, other._identity._seen_s = "known", True, float("inf")
        found = []
        for act in (put, get, head):
            with pytest.raises(GridError) as caught:
                await act(other)
            found.append(caught.value)
        await other.close()
        return found

    for error_found in asyncio.run(run()):
        assert isinstance(error_found, Unavailable)
        assert "no connection with 127.0.0.1" in error_found.detail


def test_a_name_without_an_address_is_lasting_and_names_the_setting() -> None:
    async def run() -> GridError:
        grid = s3_grid("s3://bucket", "http://no-such-host.invalid:9")
        try:
            with pytest.raises(GridError) as caught:
                await grid.attach("")
            return caught.value
        finally:
            await grid.close()

    found = asyncio.run(run())
    assert isinstance(found, Unavailable)
    assert found.lasting
    assert "check endpoint" in found.detail


def test_a_certificate_that_is_not_trusted_is_lasting_and_names_the_settings(tmp_path: Path) -> None:
    certificate, key = certificates.write(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)

    async def run() -> GridError:
        async with serving(context) as script:
            grid = s3_grid("s3://bucket", script.origin)
            try:
                with pytest.raises(GridError) as caught:
                    await grid.attach("")
                return caught.value
            finally:
                await grid.close()

    found = asyncio.run(run())
    assert isinstance(found, Unavailable)
    assert found.lasting
    assert "certificate" in found.detail
    assert "tls_ca" in found.detail


# --- answered wrongly ---


def test_another_etag_than_was_asked_for_is_corrupt_or_a_mismatch() -> None:
    other = reply(200, b"meow", etag='"e2"')
    assert isinstance(outcome(get, other, row="holdfast"), Corrupt)
    found = outcome(get, other, row="rclone")
    assert isinstance(found, Refused)
    assert found.reason is Reason.MISMATCH


def test_a_body_that_is_cut_off_is_a_silence_and_not_the_end() -> None:
    found = outcome(get, reply(200, b"me", end="close", length=4, headers=GOOD))
    assert isinstance(found, Unavailable)
    assert "cut off" in found.detail


@pytest.mark.parametrize(
    "wrong",
    [
        error(416, "InvalidRange"),
        reply(206, b"ow", content_range="bytes 1-2/4", headers=GOOD),
        reply(206, b"eow", content_range="bytes 1-3/4", headers=GOOD),
        reply(200, b"meow", headers=GOOD),
    ],
)
def test_other_bytes_than_the_asked_span_are_corrupt(wrong: Reaction) -> None:
    async def act(grid: S3Grid) -> object:
        return await grid.get(PLACE, span=Span(2, 4), if_match="e1")

    assert isinstance(outcome(act, wrong), Corrupt)


@pytest.mark.parametrize(
    "garbage",
    [b"", b"<html>", b"<ListBucketResult>", b"<Other/>", b'<!DOCTYPE x [<!ENTITY a "b">]><ListBucketResult/>'],
)
def test_a_listing_that_is_no_listing_is_corrupt(garbage: bytes) -> None:
    assert isinstance(outcome(listing, reply(200, garbage)), Corrupt)


def test_a_listing_that_leads_in_a_circle_ends() -> None:
    page = b"<ListBucketResult><IsTruncated>true</IsTruncated><NextContinuationToken>t</NextContinuationToken></ListBucketResult>"
    assert isinstance(outcome(listing, *[reply(200, page)] * 3), Corrupt)


def test_a_reply_that_is_no_http_is_corrupt_for_reads_and_uncertain_for_changes() -> None:
    nonsense = Reaction(b"SSH-2.0-OpenSSH\r\n\r\n", "close")
    assert isinstance(outcome(get, nonsense), Corrupt)
    assert isinstance(outcome(put, nonsense), Uncertain)


def test_a_change_without_an_etag_in_its_answer_is_uncertain() -> None:
    assert isinstance(outcome(put, reply(200)), Uncertain)


# --- errors that come late ---


def test_a_copy_that_fails_in_the_body_of_its_200_is_an_error() -> None:
    late = reply(200, b"<Error><Code>InternalError</Code><Message>late</Message></Error>")
    assert isinstance(outcome(copy, late), Uncertain)
    busy = reply(200, b"\n \n<Error><Code>SlowDown</Code></Error>")
    assert isinstance(outcome(copy, busy), Uncertain | Unavailable)


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"<Error><Code>InternalError</Code></Error>", Uncertain),
        (b"<Error><Code>SlowDown</Code></Error>", Unavailable),
        (b"<Error><Code>NoSuchUpload</Code></Error>", Unavailable),
        (b"<Error><Code>Unheard</Code></Error>", Uncertain),
        (b"", Uncertain),
        (b"<html>proxy</html>", Uncertain),
    ],
)
def test_an_upload_that_fails_in_the_body_of_its_200_is_an_error(body: bytes, kind: type[GridError]) -> None:
    async def act(grid: S3Grid) -> str:
        return await grid.publish(await grid.stage(PLACE, BytesSource(LARGE), LABEL))

    parts = [reply(200, etag=f'"p{number}"') for number in range(3)]
    assert type(outcome(act, BEGUN, *parts, reply(200, body))) is kind


# --- large bodies ---


def test_a_part_that_fails_is_sent_again_and_the_upload_goes_on() -> None:
    async def act(grid: S3Grid) -> str:
        return await grid.publish(await grid.stage(PLACE, BytesSource(LARGE), LABEL))

    done = reply(
        200, b"<CompleteMultipartUploadResult><ETag>&quot;whole-3&quot;</ETag></CompleteMultipartUploadResult>"
    )
    parts = [reply(500), reply(200, etag='"a"'), Reaction(b"", "reset"), reply(200, etag='"b"'), reply(200, etag='"c"')]
    etag, script = result(act, BEGUN, *parts, done)
    assert etag == "whole-3"
    assert sum("partNumber" in line for line in script.asked) == 5
    assert script.seen[-1].body.count(b"<Part>") == 3


def test_an_upload_that_cannot_be_staged_is_aborted() -> None:
    async def run() -> list[str]:
        async with serving() as script, attached(script) as grid:
            script.then(BEGUN, *[error(403, "AccessDenied")] * 3, *[reply(204)] * 2)
            with pytest.raises(Unavailable):
                await grid.stage(PLACE, BytesSource(LARGE), LABEL)
            return script.asked

    assert any(line.startswith("DELETE") and "uploadId=u1" in line for line in asyncio.run(run()))


def test_uploads_that_a_crash_left_behind_are_aborted_and_younger_ones_are_not() -> None:
    upload = "<Upload><Key>{}</Key><UploadId>{}</UploadId><Initiated>{}</Initiated></Upload>"
    now = datetime.now(UTC)

    async def run() -> list[str]:
        async with serving() as script, attached(script, "s3://bucket/dir") as grid:
            identity = await grid.attach(script.identity.split()[0].decode())
            script.uploads = "".join(
                [
                    upload.format("dir/photos/a", "old", (now - timedelta(days=2)).isoformat()),
                    upload.format("dir/photos/b", "young", (now - timedelta(hours=2)).isoformat()),
                    upload.format("theirs", "foreign", (now - timedelta(days=2)).isoformat()),
                ]
            ).encode()
            grid._uploads._used.clear()
            script.then(reply(204))
            await grid.attach(identity)
            await grid.attach(identity)
            return script.asked

    assert asyncio.run(run()) == ["DELETE /bucket/dir/photos/a?uploadId=old"]


# --- what can be learnt from a refusal ---


def test_a_skewed_clock_is_corrected_once_and_told() -> None:
    told: list[Event] = []
    teller = Teller()
    teller.subscribe(told.append)

    async def run() -> Scripted:
        async with serving() as script:
            grid = s3_grid("s3://bucket", script.origin, row="holdfast", teller=teller)
            await grid.attach(await grid.attach(""))
            script.then(
                error(403, "RequestTimeTooSkewed", date="Tue, 24 Nov 2037 20:00:00 GMT"), reply(200, etag='"e"')
            )
            assert await put(grid) == "e"
            script.then(error(403, "RequestTimeTooSkewed", date="Tue, 24 Nov 2037 20:00:00 GMT"))
            await grid.close()
            return script

    script = asyncio.run(run())
    assert script.seen[-1].headers["x-amz-date"].startswith("20371124T20")
    assert [event.message for event in told if isinstance(event, Noted)] == [
        "the provider's clock differs from ours too much: signing with its time; set this machine's clock"
    ]


def test_a_clock_that_stays_skewed_is_told_with_its_remedy() -> None:
    skewed = error(403, "RequestTimeTooSkewed", date="Tue, 24 Nov 2037 20:00:00 GMT")
    found = outcome(put, skewed, skewed)
    assert isinstance(found, Unavailable)
    assert "set this machine's clock" in found.detail


def test_another_region_is_learnt_from_the_refusal() -> None:
    body = b"<Error><Code>AuthorizationHeaderMalformed</Code><Region>eu-west-9</Region></Error>"
    body_got, script = result(get, reply(400, body), reply(200, b"meow", headers=GOOD))
    assert body_got == b"meow"
    assert "/eu-west-9/s3/aws4_request" in script.seen[-1].headers["authorization"]


@pytest.mark.parametrize("region", ["evil.example/", "a.b", "x" * 41, "eu\nwest", "@evil"])
def test_a_region_that_would_choose_the_host_is_not_learnt(region: str) -> None:
    body = f"<Error><Code>AuthorizationHeaderMalformed</Code><Region>{region}</Region></Error>".encode()
    found = outcome(get, reply(400, body))
    assert isinstance(found, Unavailable)
    assert found.lasting


@pytest.mark.parametrize(
    "text", ["Mon, 01 Jan 0001 00:00:00 -0000", "Fri, 31 Dec 9999 23:59:59 -2359", "Mon, 99 Jan 2026 99:99:99 GMT"]
)
def test_a_date_at_the_end_of_time_is_none_or_a_date(text: str) -> None:
    assert isinstance(date_ms(text), int | None)
    assert isinstance(retry_after_s({"retry-after": text}, now_ms=0), float | None)
    for iso in ("0001-01-01T00:00:00", "0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59"):
        assert isinstance(iso_ms(iso), int | None)


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_redirect_to_a_stranger_is_not_followed_but_explained(status: int) -> None:
    found = outcome(get, reply(status, location="http://evil.example/bucket/photos/cat.jpg"))
    assert isinstance(found, Unavailable)
    assert found.lasting
    assert "evil.example" in found.detail
    assert "check endpoint and region" in found.detail


# --- the way there ---


def test_a_certificate_of_our_own_authority_is_trusted_when_it_is_named(tmp_path: Path) -> None:
    certificate, key = certificates.write(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)

    async def run() -> str:
        async with serving(context) as script:
            grid = s3_grid("s3://bucket", script.origin, tls_ca=Path(certificate))
            try:
                await grid.attach(await grid.attach(""))
                script.then(reply(200, etag='"e"'))
                await put(grid)
                return script.seen[-1].headers["x-amz-content-sha256"]
            finally:
                await grid.close()

    assert asyncio.run(run()) == "UNSIGNED-PAYLOAD"


def test_a_proxy_is_asked_for_the_server_and_its_absence_is_told() -> None:
    async def run() -> tuple[str, GridError]:
        async with serving() as script:
            grid = s3_grid("s3://bucket", "http://s3.nowhere.invalid", proxy=script.origin)
            await grid.attach(await grid.attach(""))
            script.then(reply(200, etag='"e"'))
            await put(grid)
            await grid.close()
            target, origin = script.seen[-1].target, script.origin
        grid = s3_grid("s3://bucket", "http://s3.nowhere.invalid", proxy=origin)
        with pytest.raises(GridError) as caught:
            await grid.attach("")
        await grid.close()
        return target, caught.value

    target, error_found = asyncio.run(run())
    assert target == "http://s3.nowhere.invalid/bucket/photos/cat.jpg"
    assert isinstance(error_found, Unavailable)
    assert "check proxy" in error_found.detail


def test_the_bucket_stands_in_the_hosts_name_in_virtual_style() -> None:
    async def run() -> tuple[str, str]:
        async with serving() as script:
            grid = s3_grid("s3://bucket", "http://s3.nowhere.invalid", proxy=script.origin, virtual_style=True)
            await grid.attach(await grid.attach(""))
            script.then(reply(200, etag='"e"'))
            await put(grid)
            await grid.close()
            return script.seen[-1].target, script.seen[-1].headers["host"]

    assert asyncio.run(run()) == ("http://bucket.s3.nowhere.invalid/photos/cat.jpg", "bucket.s3.nowhere.invalid")


def test_hard_keys_are_sent_as_they_are() -> None:
    async def run() -> list[str]:
        async with serving() as script, attached(script, "s3://{bucket}") as grid:
            for key in ("a/../b", "./a", "//", "a b+c%20", "ä?#", ".holdfast/identity"):
                script.then(reply(200, etag='"e"'))
                await grid.publish(await grid.stage(Place("photos", key), BytesSource(b""), LABEL))
            return [line.removeprefix("PUT /photos/") for line in script.asked]

    assert asyncio.run(run()) == ["a/../b", "./a", "//", "a%20b%2Bc%2520", "%C3%A4%3F%23", ".holdfast/%3Didentity"]


def test_keys_are_looked_for_again_after_a_refusal() -> None:
    class Changing:
        """Keys that are replaced when they are refused."""

        def __init__(self) -> None:
            self.number = 1

        async def keys(self) -> Keys:
            return Keys(f"key{self.number}", Secret("secret"), Secret("token"))

        def refused(self) -> None:
            self.number += 1

    async def run() -> Scripted:
        async with serving() as script:
            grid = s3_grid("s3://bucket", script.origin, keys=Changing())
            await grid.attach(await grid.attach(""))
            script.then(error(403, "ExpiredToken"), reply(200, etag='"e"'))
            with pytest.raises(Unavailable):
                await put(grid)
            await put(grid)
            await grid.close()
            return script

    script = asyncio.run(run())
    first, second = (seen.headers for seen in script.seen[-2:])
    assert "Credential=key1/" in first["authorization"]
    assert "Credential=key2/" in second["authorization"]
    assert second["x-amz-security-token"] == "token"
    assert "x-amz-security-token" in second["authorization"]


# --- signing ---


def test_bodies_are_guarded_and_signed_as_the_row_says() -> None:
    _, script = result(put, reply(200, etag='"e"'), row="other")
    sent = script.seen[-1].headers
    assert sent["x-amz-content-sha256"] == "404cdd7bc109c432f8cc2443b45bcfe95980f5107215c645236e577929ac3e52"
    assert sent["content-md5"]
    assert "content-md5" in sent["authorization"]
    assert sent["content-type"] == "image/jpeg"
    assert sent["x-amz-meta-colour"] == "black"
    assert sent["x-amz-meta-holdfast-seq"] == "7"
    _, script = result(put, reply(200, etag='"e"'), row="holdfast")
    assert script.seen[-1].headers["x-amz-content-sha256"] == "UNSIGNED-PAYLOAD"
    assert not {"accept", "user-agent", "accept-encoding", "cookie"} & set(script.seen[-1].headers)
