"""The pure parts of `s3` grids: where objects lie, what they carry, what settings mean, and what each vendor takes."""

import asyncio
import contextlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.clock import SystemClock
from holdfast.config.check import warnings
from holdfast.config.load import read
from holdfast.config.notation import Secret
from holdfast.config.places import PROVIDERS as NAMES
from holdfast.config.places import GridSettings
from holdfast.config.settings import rows
from holdfast.crew import Crew
from holdfast.grids.grid import Label
from holdfast.grids.metadata import decode, encode, size_bytes
from holdfast.grids.s3.credentials import (
    Keys,
    NoKeys,
    container_keys,
    instance_keys,
    profile_keys,
    role_keys,
    setting_keys,
)
from holdfast.grids.s3.labels import headers_of, label_of
from holdfast.grids.s3.location import BadLocation, read_location
from holdfast.grids.s3.names import LastGood, SystemNames
from holdfast.grids.s3.quirks import PROVIDERS, Quirks
from holdfast.grids.s3.terms import problems, read_terms
from holdfast.grids.s3.uploads import Room, part_bytes
from holdfast.limits import KIB, OBJECT_BYTES, PART_NUMBER_MAX, S3_HELD_BYTES, S3_PART_HELD_BYTES, S3_PARTS
from holdfast.model import Place
from holdfast.testing.hard_keys import HARD_KEYS

CLOCK = SystemClock()
KEYS = {"access_key": Secret("id"), "secret_key": Secret("a secret of ours")}


# --- location ---


@pytest.mark.parametrize(
    ("url", "bucket", "key", "identity"),
    [
        ("s3://acme", "acme", "photos/a/b", "acme .holdfast/identity"),
        ("s3://acme/", "acme", "photos/a/b", "acme .holdfast/identity"),
        ("s3://acme/some/where", "acme", "some/where/photos/a/b", "acme some/where/.holdfast/identity"),
        ("s3://acme/{bucket}", "acme", "photos/a/b", "acme .holdfast/identity"),
        ("s3://acme/x/{bucket}/y/", "acme", "x/photos/y/a/b", "acme x/.holdfast/identity"),
        ("s3://{bucket}", "photos", "a/b", "holdfast .holdfast/identity"),
        ("s3://acme-{bucket}", "acme-photos", "a/b", "acme-holdfast .holdfast/identity"),
        ("s3://acme-{bucket}/x", "acme-photos", "x/a/b", "acme-holdfast x/.holdfast/identity"),
    ],
)
def test_a_url_says_where_objects_and_the_identity_lie(url: str, bucket: str, key: str, identity: str) -> None:
    location = read_location(url)
    spot = location.spot(Place("photos", "a/b"))
    assert (spot.bucket, spot.key) == (bucket, key)
    assert f"{location.identity.bucket} {location.identity.key}" == identity


@pytest.mark.parametrize(
    "url",
    [
        "s3://",
        "s3:bucket",
        "s3:///x",
        "s3://UPPER",
        "s3://a{bucket",
        "s3://{bucket}/{bucket}",
        "s3://acme/x{bucket}",
        "s3://a/../b",
        "s3://a/.holdfast",
    ],
)
def test_a_url_that_is_none_is_refused_with_a_remedy(url: str) -> None:
    with pytest.raises(BadLocation) as caught:
        read_location(url)
    assert caught.value.what
    assert caught.value.remedy


KEY_TEXT = st.one_of(
    st.sampled_from(HARD_KEYS),
    st.text(min_size=1, max_size=30),
    st.text(alphabet="./=holdfast", min_size=1, max_size=14).map(lambda tail: ".holdfast/" + tail),
)
URLS = ["s3://acme", "s3://acme/x/{bucket}/y", "s3://{bucket}", "s3://acme-{bucket}/x"]


@given(KEY_TEXT, KEY_TEXT, st.sampled_from(URLS))
def test_names_are_reversible_in_order_and_never_ours(one: str, other: str, url: str) -> None:
    location = read_location(url)
    names = [location.spot(Place("photos", key)).key for key in (one, other)]
    assert [location.key_of("photos", name) for name in names] == [one, other]
    assert (one.encode("utf-8", "surrogatepass") < other.encode("utf-8", "surrogatepass")) == (
        names[0].encode("utf-8", "surrogatepass") < names[1].encode("utf-8", "surrogatepass")
    )
    assert location.identity.key not in names


@pytest.mark.parametrize("key", [key for key in HARD_KEYS if not key.startswith(".holdfast/")])
def test_every_key_but_our_own_area_is_plain_under_its_own_name(key: str) -> None:
    assert read_location("s3://{bucket}").spot(Place("photos", key)).key == key
    assert read_location("s3://acme").spot(Place("photos", key)).key == f"photos/{key}"


# --- labels ---

TEXTS = st.text(max_size=40)
NAMES_OF_METADATA = st.text(alphabet="abcdefghijklmnopqrstuvwxyz0123456789-_.!", min_size=1, max_size=12)
LABELS = st.builds(
    Label,
    st.integers(0, 2**62),
    st.text(alphabet="0123456789abcdef-", max_size=40),
    st.integers(0, 2**45),
    st.dictionaries(
        st.sampled_from(["content-type", "cache-control", "content-disposition", "content-encoding", "content-language", "expires",
                         "x-amz-website-redirect-location"]),
        TEXTS,
    ),
    st.dictionaries(st.one_of(NAMES_OF_METADATA, st.just("holdfast-seq")), TEXTS, max_size=5),
)  # fmt: skip


@given(LABELS)
def test_a_label_comes_back_from_headers_whatever_is_in_it(label: Label) -> None:
    headers = headers_of(label, room_bytes=100_000)
    assert all(value.isascii() and value == value.strip() and value for value in headers.values())
    stored = {"content-type": "binary/octet-stream", "cache-control": "private", **headers}
    assert label_of(stored) == label


@given(TEXTS)
def test_any_text_fits_a_header_and_comes_back(text: str) -> None:
    assert decode(encode(text)) == text
    assert decode(encode(encode(text))) == encode(text)


def test_our_own_part_of_a_label_gives_way_before_the_clients() -> None:
    user = {"name": "x" * (2 * KIB - 10)}
    headers = headers_of(Label(1, "e", 2, {"content-type": "text/plain"}, user), room_bytes=2 * KIB)
    assert headers["x-amz-meta-name"] == user["name"]
    assert headers["content-type"] == "text/plain"
    assert not any(name.startswith("x-amz-meta-holdfast-") for name in headers)
    assert label_of(headers) is None


@pytest.mark.parametrize("seq", ["", "x", "1" * 5000])
def test_a_label_that_is_none_is_none(seq: str) -> None:
    headers = {"x-amz-meta-holdfast-seq": seq, "x-amz-meta-holdfast-modified": "x", "x-amz-meta-holdfast-more": "%%%"}
    assert label_of(headers) is None


def test_metadata_is_measured_as_it_is_sent() -> None:
    assert size_bytes({"colour": "blau"}) == 10
    assert size_bytes({"colour": "grün"}) == 6 + len("=?UTF-8?B?Z3LDvG4=?=")


# --- quirks ---


def test_there_is_a_row_for_each_provider_that_can_be_set() -> None:
    assert tuple(PROVIDERS) == NAMES


@pytest.mark.parametrize("row", PROVIDERS.values(), ids=PROVIDERS)
def test_a_row_has_sources_and_assumes_nothing_good_that_is_not_documented(row: Quirks) -> None:
    careful = {
        "if_match": False, "put_if_absent": False, "copy_if_match": False, "etag": "opaque", "batch_delete": None,
        "etag_of_upload": False, "metadata_bytes": 2 * KIB,
    }  # fmt: skip
    assert row.sources
    for name in row.undocumented:
        assert hasattr(row, name)
        assert getattr(row, name) == careful.get(name, getattr(row, name)), name


@pytest.mark.parametrize("row", PROVIDERS.values(), ids=PROVIDERS)
@pytest.mark.parametrize("size", [8 * 1024 * KIB + 1, 2**34, 2**40, OBJECT_BYTES - 5 * 2**30])
def test_parts_keep_the_vendors_rules(row: Quirks, size: int) -> None:
    size = min(size, row.parts_max * row.part_bytes_max)  # What capabilities declare as the largest object.
    part = part_bytes(size, row)
    assert row.part_bytes_min <= part <= row.part_bytes_max
    assert -(-size // part) <= row.parts_max <= PART_NUMBER_MAX


def test_parts_in_memory_are_bounded() -> None:
    assert S3_PARTS * S3_PART_HELD_BYTES <= S3_HELD_BYTES


# --- settings ---


def told(*grids: GridSettings, environ: Mapping[str, str] | None = None) -> list[str]:
    return [str(problem) for problem in problems(grids, environ or {})]


def grid(url: str = "s3://acme", name: str = "g", **settings: Any) -> GridSettings:
    return GridSettings(
        name=name, url=url, **{"provider": "other", "endpoint": "https://s3.example", **KEYS, **settings}
    )


@pytest.mark.parametrize(
    ("settings", "setting", "remedy"),
    [
        ({"endpoint": ""}, "endpoint", "Add: endpoint"),
        ({"provider": "aws", "endpoint": ""}, "region", "Add: region"),
        ({"access_key": Secret("")}, "access_key", "Add: access_key"),
        ({"secret_key": Secret("")}, "secret_key", "Add: secret_key"),
        ({"access_key": Secret(""), "secret_key": Secret("")}, "access_key", "a profile"),
        ({"profile": "p"}, "profile", "Keep one"),
        ({"secret_key": Secret("env:NOT_THERE")}, "secret_key", "Set NOT_THERE"),
        ({"secret_key": Secret("file:/not/there")}, "secret_key", "readable"),
        ({"tls_ca": Path("/not/there")}, "tls_ca", "PEM"),
        ({"home": "x"}, "home", "Remove it"),
        ({"url": "s3://{bucket}", "home": "No!"}, "home", "a bucket of yours"),
        ({"url": "s3://a/x{bucket}"}, "url", "Write"),
        (
            {"url": "folder:/srv", "provider": "", "access_key": Secret(""), "secret_key": Secret("")},
            "endpoint",
            "Remove it",
        ),
    ],
)
def test_a_mistake_names_the_setting_and_the_remedy(settings: dict[str, Any], setting: str, remedy: str) -> None:
    found = told(grid(**settings))
    assert len(found) == 1, found
    assert f'[[grid]] "g" {setting}' in found[0]
    assert remedy in found[0]
    assert "a secret of ours" not in found[0]


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("s3://acme", "s3://acme", True),
        ("s3://acme", "s3://acme/{bucket}", True),
        ("s3://acme/a", "s3://acme/a/b", True),
        ("s3://acme", "s3://acme/a", True),
        ("s3://{bucket}", "s3://acme", True),
        ("s3://x-{bucket}", "s3://{bucket}", True),
        ("s3://acme/a", "s3://acme/ab", False),
        ("s3://acme", "s3://other", False),
        ("s3://x-{bucket}", "s3://y-{bucket}", False),
    ],
)
def test_two_grids_in_one_place_are_found_before_anything_is_written(one: str, other: str, same: bool) -> None:
    found = told(grid(one, name="first"), grid(other, name="second"))
    assert bool(found) is same
    if same:
        assert '[[grid]] "second" url' in found[0]
        assert 'grid "first"' in found[0]
    assert told(grid(one, name="first"), grid(other, name="second", endpoint="https://else.example")) == []


@pytest.mark.parametrize(
    ("settings", "origin", "region", "provider", "virtual"),
    [
        ({"provider": "", "endpoint": "", "region": "eu-central-1"}, "https://s3.eu-central-1.amazonaws.com", "eu-central-1", "aws", True),
        ({"provider": "", "endpoint": "https://s3.us-west-004.backblazeb2.com"}, "https://s3.us-west-004.backblazeb2.com", "us-west-004", "b2", True),
        ({"provider": "", "endpoint": "https://fsn1.your-objectstorage.com"}, "https://fsn1.your-objectstorage.com", "fsn1", "hetzner", True),
        ({"provider": "", "endpoint": "https://x.r2.cloudflarestorage.com"}, "https://x.r2.cloudflarestorage.com", "auto", "r2", False),
        ({"provider": "", "endpoint": "http://127.0.0.1:9000"}, "http://127.0.0.1:9000", "us-east-1", "other", False),
        ({"provider": "aws", "endpoint": "http://[::1]:9000", "region": "x"}, "http://[::1]:9000", "x", "aws", False),
        ({"provider": "", "endpoint": "https://s3.example", "style": "virtual"}, "https://s3.example", "us-east-1", "other", True),
        ({"provider": "", "endpoint": "https://notamazonaws.com"}, "https://notamazonaws.com", "us-east-1", "other", False),
    ],
)  # fmt: skip
def test_what_is_not_set_follows_from_what_is(
    settings: dict[str, Any], origin: str, region: str, provider: str, virtual: bool
) -> None:
    endpoint = read_terms(grid(**settings)).endpoint
    assert (endpoint.origin, endpoint.region, endpoint.quirks.name, endpoint.virtual_style) == (
        origin,
        region,
        provider,
        virtual,
    )


def test_buckets_are_created_by_default_only_where_each_clients_bucket_is_one() -> None:
    assert [read_terms(grid(url)).create_buckets for url in URLS] == [False, False, True, True]
    assert read_terms(grid(create_buckets=True)).create_buckets
    assert not read_terms(grid("s3://{bucket}", create_buckets=False)).create_buckets


def test_secrets_are_never_shown(tmp_path: Path) -> None:
    file = tmp_path / "holdfast.toml"
    file.write_text('[[grid]]\nname = "x"\nurl = "s3://b"\nsecret_key = "very secret"\naccess_key = "env:ID"\n')
    settings = read(file, {}).settings
    assert "very secret" not in repr(settings)
    shown = {
        name: row.kind.show(getattr(settings.grid[0], name))
        for name, row in rows(GridSettings).items()
        if name.endswith("_key")
    }
    assert shown == {"access_key": "env:ID", "secret_key": "***", "account_key": ""}


@pytest.mark.parametrize(
    ("line", "warned"),
    [
        ('endpoint = "http://s3.example"', "over http whoever is on the way can read the objects"),
        ('endpoint = "http://127.0.0.1:9000"', ""),
        ('endpoint = "http://127.0.0.1.example"', "over http whoever is on the way can read the objects"),
        ('endpoint = "https://s3.example"', ""),
        ('secret_key = "written here"', "its secret key stands in the configuration"),
        ('secret_key = "env:SECRET"', ""),
    ],
)
def test_what_is_possible_and_unwise_is_a_warning(tmp_path: Path, line: str, warned: str) -> None:
    file = tmp_path / "holdfast.toml"
    file.write_text(f'data = "{tmp_path}"\n[[grid]]\nname = "x"\nurl = "s3://b"\n{line}\n')
    found = [text for text in warnings(read(file, {}).settings) if text.startswith("grid x")]
    assert bool(found) is bool(warned)
    assert all(warned in text for text in found)


def test_keys_of_amazon_are_not_given_to_others() -> None:
    aws = grid(provider="aws", endpoint="", region="eu-west-1", access_key=Secret(""), secret_key=Secret(""))
    assert read_terms(aws).roles
    assert told(grid(access_key=Secret(""), secret_key=Secret("")), environ={"AWS_ACCESS_KEY_ID": "id"})


# --- keys ---


def test_keys_in_files_are_read_again_when_they_change(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_text("one\n")

    async def run() -> tuple[str, str, str]:
        source = setting_keys("id", f"file:{file}", "", {}, clock=CLOCK)
        first = (await source.keys()).secret_key.reveal()
        file.write_text("another\n")
        source.refused()
        second = (await source.keys()).secret_key.reveal()
        file.unlink()
        source.refused()
        return first, second, (await source.keys()).secret_key.reveal()

    assert asyncio.run(run()) == ("one", "another", "another")


def test_a_profile_is_read_from_the_credentials_file(tmp_path: Path) -> None:
    file = tmp_path / "credentials"
    file.write_text(
        "[default]\naws_access_key_id = a\naws_secret_access_key = b\n[p]\naws_access_key_id = c\naws_secret_access_key = d%d\naws_session_token = e\n"
    )
    environ = {"AWS_SHARED_CREDENTIALS_FILE": str(file)}
    keys = asyncio.run(profile_keys("p", environ, clock=CLOCK).keys())
    assert (keys.access_key, keys.secret_key.reveal(), keys.session_token.reveal()) == ("c", "d%d", "e")
    with pytest.raises(NoKeys, match='no profile "q"; there are: default, p'):
        asyncio.run(profile_keys("q", environ, clock=CLOCK).keys())


class Metadata:
    """A metadata service: EC2's second version and that of containers."""

    def __init__(self, *, expires: str = "2099-01-01T00:00:00Z") -> None:
        self.asked: list[str] = []
        self.expires = expires
        self.down = False

    async def fetch(self, method: str, url: str, headers: Mapping[str, str]) -> tuple[int, bytes]:
        self.asked.append(f"{method} {url}")
        if self.down:
            raise OSError(None, "nobody answers")
        issued = {
            "AccessKeyId": f"id{len(self.asked)}",
            "SecretAccessKey": "s",
            "Token": "t",
            "Expiration": self.expires,
        }
        if method == "PUT" and url.endswith("/latest/api/token"):
            return 200, b"session"
        if "x-aws-ec2-metadata-token" in headers:
            assert headers["x-aws-ec2-metadata-token"] == "session"
            return 200, b"a-role\n" if url.endswith("/security-credentials/") else json.dumps(issued).encode()
        return (200, json.dumps(issued).encode()) if headers.get("authorization") == "let me in" else (401, b"")


def test_a_machines_role_gives_keys_that_are_kept_until_they_expire() -> None:
    async def run() -> tuple[Keys, Keys, list[str]]:
        service = Metadata()
        source = instance_keys(service.fetch, {}, clock=CLOCK)
        return await source.keys(), await source.keys(), service.asked

    first, second, asked = asyncio.run(run())
    assert first is second
    assert first.session_token.reveal() == "t"
    assert [line.rpartition("169.254.169.254")[2] for line in asked] == [
        "/latest/api/token",
        "/latest/meta-data/iam/security-credentials/",
        "/latest/meta-data/iam/security-credentials/a-role",
    ]


def test_keys_that_expire_are_renewed_and_outlive_a_silent_service_until_then() -> None:
    async def run() -> list[str]:
        service = Metadata()
        source = instance_keys(service.fetch, {}, clock=CLOCK)
        found = [(await source.keys()).access_key]
        source.refused()
        found.append((await source.keys()).access_key)
        service.down = True
        source.refused()
        found.append((await source.keys()).access_key)
        return found

    assert asyncio.run(run()) == ["id3", "id6", "id6"]


def test_keys_that_have_expired_are_not_used() -> None:
    async def run() -> None:
        service = Metadata(expires="2001-01-01T00:00:00Z")
        source = instance_keys(service.fetch, {}, clock=CLOCK)
        await source.keys()
        service.down = True
        source.refused()
        with pytest.raises(NoKeys, match="set access_key"):
            await source.keys()

    asyncio.run(run())


def test_a_container_is_asked_with_its_token(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("let me in\n")
    environ = {
        "AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://127.0.0.1:1/x",
        "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE": str(file),
    }
    keys = asyncio.run(container_keys(Metadata().fetch, environ, clock=CLOCK).keys())
    assert keys.access_key == "id1"


def test_keys_are_looked_for_where_the_sdks_look(tmp_path: Path) -> None:
    nothing = {"AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "none")}

    def asked(environ: dict[str, str]) -> list[str]:
        service = Metadata()
        keys = role_keys(service.fetch, {**nothing, **environ}, clock=CLOCK)
        with contextlib.suppress(NoKeys):
            asyncio.run(keys.keys())
        return service.asked

    assert asked({"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b"}) == []
    assert asked({"AWS_CONTAINER_CREDENTIALS_RELATIVE_URI": "/r"}) == ["GET http://169.254.170.2/r"]
    assert len(asked({})) == 3


# --- memory ---


def test_room_is_given_in_order_and_never_more_than_there_is() -> None:
    async def run() -> list[int]:
        room = Room(10)
        order: list[int] = []

        async def one(number: int, size: int) -> None:
            await room.take(size)
            order.append(number)

        await room.take(8)
        tasks = [asyncio.ensure_future(one(number, size)) for number, size in ((1, 9), (2, 1), (3, 1))]
        await asyncio.sleep(0)
        assert order == []
        tasks[0].cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert order == [2, 3]
        room.give(8)
        room.give(1)
        room.give(1)
        await room.take(10)
        return order

    assert asyncio.run(run()) == [2, 3]


# --- names ---


class _Resolver:
    def __init__(self) -> None:
        self.answers: list[object] = []

    async def resolve(self, host: str, port: int = 0, family: int = 0) -> list[dict[str, str]]:
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer  # type: ignore[return-value]

    async def close(self) -> None:
        return


def test_the_last_good_address_stands_in_while_the_name_service_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("holdfast.grids.s3.names.S3_NAMES_S", 0.01)

    class Hanging(_Resolver):
        async def resolve(self, host: str, port: int = 0, family: int = 0) -> list[dict[str, str]]:
            if not self.answers:
                await asyncio.Event().wait()
            return await super().resolve(host, port, family)

    async def run() -> None:
        inner = Hanging()
        resolver = LastGood(inner, tell=lambda host, reason: None)  # type: ignore[arg-type]
        good = [{"host": "10.0.0.1"}]
        inner.answers = [good]
        found: list[object] = [await resolver.resolve("s3.example", 443) for _ in range(2)]
        assert found == [good, good]
        with pytest.raises(OSError, match="the name service does not answer"):
            await resolver.resolve("other.example", 443)

    asyncio.run(run())


def test_names_are_looked_up_by_threads_of_the_grids_own() -> None:
    async def run() -> list[str]:
        crew = Crew("names", size=1, waiting=4)
        try:
            return [result["host"] for result in await SystemNames(crew).resolve("127.0.0.1", 80)]
        finally:
            crew.close()

    assert asyncio.run(run()) == ["127.0.0.1"]


def test_the_last_good_address_stands_in_when_a_name_has_none() -> None:
    async def run() -> list[tuple[str, str]]:
        told: list[tuple[str, str]] = []
        inner = _Resolver()
        resolver = LastGood(inner, tell=lambda host, reason: told.append((host, reason)))  # type: ignore[arg-type]
        good, fresh = [{"host": "10.0.0.1"}], [{"host": "10.0.0.2"}]
        inner.answers = [OSError(None, "NXDOMAIN"), good, [], OSError(None, "SERVFAIL"), fresh, []]
        with pytest.raises(OSError, match="NXDOMAIN"):
            await resolver.resolve("s3.example", 443)
        found: list[object] = [await resolver.resolve("s3.example", 443) for _ in range(5)]
        assert found == [good, good, good, fresh, fresh]
        return told

    assert asyncio.run(run()) == [("s3.example", "it has no address"), ("s3.example", "it has no address")]
