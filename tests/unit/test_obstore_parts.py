"""The pure parts of `azure` and `gcs` grids: names, labels, what errors mean, what settings mean."""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.config.notation import Secret
from holdfast.config.places import GridSettings
from holdfast.errors import Corrupt, GridError, Reason, Refused, Unavailable, Uncertain
from holdfast.grids.grid import Label
from holdfast.grids.identity import NoPlace
from holdfast.grids.obstore.attributes import attributes_of, label_of
from holdfast.grids.obstore.names import (
    HARD,
    Unholdable,
    begin_after,
    directory_of,
    hard_key,
    in_byte_order,
    is_plain,
    name_of,
    read_place,
    refused_keys,
)
from holdfast.grids.obstore.providers import AZURE, GCS, PROVIDERS, Provider, part_bytes
from holdfast.grids.obstore.replies import classify
from holdfast.grids.obstore.terms import problems, read_terms
from holdfast.grids.s3.replies import Asked
from holdfast.limits import OBSTORE_PART_MAX_BYTES, S3_PART_BYTES
from holdfast.model import Place
from holdfast.testing.hard_keys import HARD_KEYS

BOTH = pytest.mark.parametrize("provider", [AZURE, GCS], ids=["azure", "gcs"])
_PARTS = [
    "a",
    "b",
    "/",
    ".",
    "..",
    "//",
    " ",
    "é",
    "\x01",
    "\\",
    ".holdfast/",
    "keys/",
    "\ue000",
    "￠",
    "😀",
    "\x7f",
    "%2F",
]
KEYS = st.lists(st.sampled_from(_PARTS), min_size=1, max_size=12).map("".join)


# --- names ---


@BOTH
@given(key=KEYS, base=st.sampled_from(["", "bucket/", "some/where/bucket/"]))
def test_a_name_is_the_key_or_says_it(provider: Provider, key: str, base: str) -> None:
    name = name_of(key, base, provider)
    if is_plain(key, base, provider):
        assert name == base + key
        assert hard_key(name, base) is None
    else:
        assert name.startswith(base + HARD)
        assert hard_key(name, base) == key
    # The library takes it as it is: no segment that it would drop or refuse.
    assert all(segment not in ("", ".", "..") for segment in name.split("/"))
    assert not re.search(r"[\x00-\x1f\x7f]", name)


@BOTH
@given(one=KEYS, other=KEYS)
def test_different_keys_have_different_names_and_hard_names_keep_the_order(
    provider: Provider, one: str, other: str
) -> None:
    first, second = name_of(one, "b/", provider), name_of(other, "b/", provider)
    assert (first == second) == (one == other)
    if not is_plain(one, "b/", provider) and not is_plain(other, "b/", provider):
        assert (first.encode() < second.encode()) == (one.encode() < other.encode())


@BOTH
@pytest.mark.parametrize(
    "key", [*HARD_KEYS, "/" * 1024, "é/" * 300, "x" * 1024, "a/" * 400 + "b", "x/" * 200 + "/" + "y" * 600]
)
def test_what_cannot_be_held_is_declared(provider: Provider, key: str) -> None:
    pattern, base = refused_keys(provider, "deep/{bucket}/"), "deep/bucket/"
    declared = re.search(pattern, f"bucket/{key}") is not None or len(key.encode()) > provider.name_limit - len(
        "deep//"
    ) - len("bucket")
    try:
        name_of(key, base, provider)
    except Unholdable:
        assert declared
    if is_plain(key, base, provider) and len(key.encode()) < 900:
        assert not declared


@BOTH
@given(key=KEYS, prefix_length=st.integers(0, 8))
def test_a_plain_key_lies_in_the_directory_of_each_of_its_beginnings(
    provider: Provider, key: str, prefix_length: int
) -> None:
    prefix = key[:prefix_length]
    directory = directory_of("base/bucket/", prefix)
    if is_plain(key, "base/bucket/", provider):
        assert directory is not None
        assert name_of(key, "base/bucket/", provider).startswith(directory + "/")


@given(name=KEYS)
def test_a_listing_never_begins_behind_what_is_wanted(name: str) -> None:
    begin = begin_after("base/" + name)
    assert begin is not None
    assert begin.encode() <= ("base/" + name).encode()
    assert begin.encode("utf-16-be") <= ("base/" + name).encode("utf-16-be")
    assert all(segment not in ("", ".", "..") for segment in begin.split("/"))


@given(names=st.lists(st.text(st.sampled_from("aé\ud7ff\ue000￠😀𝄞\U0010ffff/"), min_size=1), unique=True))
@pytest.mark.parametrize("order", ["utf-8", "utf-16-be"])
def test_any_order_of_unicode_becomes_that_of_bytes(order: str, names: list[str]) -> None:
    async def listed() -> AsyncIterator[tuple[str, int]]:
        for name in sorted(names, key=lambda name: name.encode(order)):
            yield name, len(name)

    async def collect() -> list[str]:
        return [name async for name, _ in in_byte_order(listed())]

    assert asyncio.run(collect()) == sorted(names, key=str.encode)


# --- labels ---

_TEXT = st.text(max_size=40)
_NAMES = st.from_regex(r"[a-z0-9][a-z0-9_.-]{0,20}", fullmatch=True) | st.sampled_from(
    ["content-type", "storage-class", "_x", "a-b", "a_b", "9lives", "holdfast-seq"]
)


@BOTH
@given(
    user=st.dictionaries(_NAMES, _TEXT, max_size=6),
    system=st.dictionaries(st.sampled_from(["content-type", "cache-control", "content-encoding", "expires"]), _TEXT),
)
def test_a_label_comes_back_as_it_went(provider: Provider, user: dict[str, str], system: dict[str, str]) -> None:
    label = Label(seq=7, etag='etag-"1"', modified_ms=1_700_000_000_123, system=system, user=user)
    attributes = attributes_of(label, provider)
    assert label_of(attributes, provider) == label
    # Names come back in small letters: HTTP has no others.
    lowered = {name if name[0].isupper() else name.lower(): value for name, value in attributes.items()}
    assert label_of(lowered, provider) == label
    assert all(value.isascii() and value.isprintable() for value in attributes.values())


def test_names_of_metadata_are_identifiers_at_azure() -> None:
    label = Label(seq=1, etag="e", modified_ms=0, system={}, user={"my-name": "x", "9lives": "y", "class": "z"})
    names = set(attributes_of(label, AZURE))
    assert {"my_name", "_9lives", "class"} <= names
    assert all(re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name) for name in names)


# --- parts ---


@BOTH
def test_parts_are_few_enough_and_fit_into_memory(provider: Provider) -> None:
    assert part_bytes(1, provider) == S3_PART_BYTES
    most = part_bytes(provider.object_bytes, provider)
    assert most <= OBSTORE_PART_MAX_BYTES
    assert -(-provider.object_bytes // most) <= provider.parts_max


# --- errors ---

_AZURE_XML = (
    '<?xml version="1.0"?>\n<Error>\n  <Code>{code}</Code>\n  <Message>Something.\nRequestId:1</Message>\n</Error>'
)
_TOLD = "Generic MicrosoftAzure error: Error performing {method} http://h/c/x{query} in 4ms - Server returned non-2xx status code: {status} Word: {body}"
_CONNECT = 'Generic GCS error: Error performing PUT http://h/x in 1ms - HTTP error: error sending request\n\nDebug source:\nGeneric {{\n kind: {kind},\n source: ConnectError("{what}", Os {{ message: "{message}" }})}}'


def _told(status: int, code: str = "", *, method: str = "PUT", query: str = "") -> Exception:
    body = _AZURE_XML.format(code=code) if code else ""
    return OSError(_TOLD.format(method=method, query=query, status=status, body=body))


def _broken(kind: str, what: str = "", message: str = "") -> Exception:
    return OSError(_CONNECT.format(kind=kind, what=what, message=message))


def _asked(operation: str, *, changes: bool) -> Asked:
    return Asked("grid", operation, Place("bucket", "key"), "acme", changes)


@pytest.mark.parametrize(
    ("operation", "changes", "trouble", "kind", "reason"),
    [
        ("get", False, _told(404, "BlobNotFound"), Refused, Reason.ABSENT),
        ("get", False, _told(404, "NoSuchKey"), Refused, Reason.ABSENT),
        ("head", False, _told(404), Refused, Reason.ABSENT),
        ("delete", True, OSError("Bulk delete request failed for key x: The blob does not exist. (code: 404)"), Refused, Reason.ABSENT),
        ("get", False, _told(404), Unavailable, "lasting"),
        ("publish", True, _told(404), Unavailable, "lasting"),
        ("get", False, _told(404, "ContainerNotFound"), NoPlace, "lasting"),
        ("get", False, _told(404, "NoSuchBucket"), NoPlace, "lasting"),
        ("get", False, _told(412, "ConditionNotMet"), Refused, Reason.MISMATCH),
        ("publish", True, _told(412, "LeaseIdMissing"), Unavailable, "lasting"),
        ("publish", True, _told(409, "BlobImmutableDueToPolicy"), Unavailable, "lasting"),
        ("get", False, _told(416, "InvalidRange"), Corrupt, None),
        ("publish", True, _told(400, "InvalidBlockList"), Unavailable, None),
        ("publish", True, _told(400, "MetadataTooLarge"), Refused, Reason.INVALID),
        ("publish", True, _told(413, "RequestBodyTooLarge"), Refused, Reason.INVALID),
        ("publish", True, _told(503, "ServerBusy"), Unavailable, None),
        ("publish", True, _told(429), Unavailable, None),
        ("publish", True, _told(500, "OperationTimedOut"), Uncertain, None),
        ("publish", True, _told(502), Uncertain, None),
        ("publish", True, _told(500, query="?comp=block&blockid=x"), Unavailable, None),
        ("publish", True, _told(500, query="?comp=blocklist"), Uncertain, None),
        ("get", False, _told(500), Unavailable, None),
        ("get", False, _told(403, "AuthenticationFailed"), Unavailable, "lasting"),
        ("publish", True, _told(401), Unavailable, "lasting"),
        ("publish", True, _broken("Connect", "tcp connect error", "Connection refused"), Unavailable, None),
        ("publish", True, _broken("Connect", "dns error", "no"), Unavailable, "lasting"),
        ("publish", True, _broken("Connect", "invalid peer certificate: Expired"), Unavailable, "lasting"),
        ("publish", True, _broken("Interrupted"), Uncertain, None),
        ("publish", True, _broken("Timeout"), Uncertain, None),
        ("get", False, _broken("Interrupted"), Unavailable, None),
        ("list", False, OSError('Error parsing Path "a//b"'), Unavailable, "lasting"),
        ("publish", True, OSError("Error performing token request: status code: 403 Forbidden"), Unavailable, "lasting"),
        ("publish", True, OSError("Error performing token request: status code: 500 Oh"), Unavailable, None),
        ("publish", True, OSError("something that nobody has seen"), Uncertain, None),
    ],
)  # fmt: skip
def test_each_error_has_its_class(
    operation: str, changes: bool, trouble: Exception, kind: type[GridError], reason: object
) -> None:
    error = classify(_asked(operation, changes=changes), trouble, place="container")
    assert type(error) is kind
    if isinstance(error, Refused):
        assert error.reason is reason
    if isinstance(error, Unavailable):
        assert error.lasting == (reason == "lasting")
    assert (error.bucket, error.key, error.operation) == ("bucket", "key", operation)


def test_messages_tell_the_remedy_and_no_address() -> None:
    query = "?comp=block&sig=a-secret-signature"
    for trouble in (
        _told(403, "AuthenticationFailed", query=query),
        _told(500, query=query),
        _broken("Connect", "x", "y"),
    ):
        told = str(classify(_asked("publish", changes=True), trouble, place="container"))
        assert "secret" not in told
        assert "http" not in told
    told = str(classify(_asked("publish", changes=True), _told(403, "AuthenticationFailed"), place="container"))
    assert "account_key" in told
    told = str(classify(_asked("get", changes=False), _told(404, "ContainerNotFound"), place="container"))
    assert 'the container "acme" does not exist' in told


# --- settings ---

KEY = "c2VjcmV0LWtleQ=="
SERVICE = json.dumps({"client_email": "x", "private_key": "y"})


def _grid(name: str, url: str, **settings: object) -> GridSettings:
    secrets = {"account_key", "sas_token", "service_account", "access_key"}
    read = {key: Secret(str(value)) if key in secrets else value for key, value in settings.items()}
    return GridSettings(name=name, url=url, **read)  # type: ignore[arg-type]


def _problems(grids: Sequence[GridSettings]) -> list[str]:
    return [str(problem) for problem in problems(grids, {"HERE": KEY})]


@pytest.mark.parametrize(
    "grid",
    [
        _grid("a", "azure://acme", account="acmephotos", account_key=KEY),
        _grid("a", "azure://acme/some/where", account="acmephotos", account_key="env:HERE"),
        _grid("a", "azure://acme-{bucket}", account="acmephotos", sas_token="sv=1&sig=x"),
        _grid("a", "azure://acme", account="acmephotos"),
        _grid("a", "gcs://acme", service_account=SERVICE),
        _grid("a", "gcs://acme.example/{bucket}/x"),
        _grid("a", "folder:x"),
        _grid("a", "s3://acme", access_key="x"),
    ],
)
def test_good_settings_have_no_problems(grid: GridSettings) -> None:
    assert _problems([grid]) == []


@pytest.mark.parametrize(
    ("grid", "told"),
    [
        (_grid("a", "azure://acme"), '[[grid]] "a" account: it is missing. Add: account = …'),
        (_grid("a", "azure://acme", account="Acme!"), "is not the name of a storage account"),
        (_grid("a", "azure://Ac_me", account="acme"), "url"),
        (_grid("a", "azure://ac--me", account="acme"), "cannot be the name of a container"),
        (_grid("a", "azure://a/{x}", account="acme"), '"azure://a/{x}" may have'),
        (_grid("a", "azure://acme", account="acme", account_key="not base64!"), "it is not a key as Azure writes them"),
        (_grid("a", "azure://acme", account="acme", account_key="env:NOWHERE"), "no variable NOWHERE"),
        (_grid("a", "azure://acme", account="acme", account_key=KEY, sas_token="sig=x"), "Keep one of the two"),
        (_grid("a", "azure://acme", account="acme", sas_token="nothing"), "it has no signature"),
        (_grid("a", "azure://acme", account="acme", access_key="x"), "access_key: it means nothing for a azure grid"),
        (_grid("a", "azure://acme", account="acme", service_account="x"), "service_account: it means nothing"),
        (_grid("a", "gcs://acme", service_account="{}"), "not the JSON of a service account's key"),
        (_grid("a", "gcs://acme", account="acme"), "account: it means nothing for a gcs grid"),
        (_grid("a", "folder:x", account="acme"), "account: it means nothing for a folder grid"),
        (_grid("a", "s3://x", account_key="acme"), "account_key: it means nothing for a s3 grid"),
    ],
)
def test_a_mistake_is_told_with_its_setting(grid: GridSettings, told: str) -> None:
    (problem,) = _problems([grid])
    assert told in problem


def test_one_place_under_two_names_is_found() -> None:
    one = _grid("a", "azure://acme", account="acme")
    assert 'the place of grid "a"' in _problems([one, _grid("b", "azure://acme/in/it", account="acme")])[0]
    assert _problems([one, _grid("b", "azure://acme", account="other")]) == []
    assert _problems([one, _grid("b", "gcs://acme")]) == []


def test_an_emulator_has_the_account_in_its_path() -> None:
    for endpoint, wanted in {
        "http://127.0.0.1:10000": "http://127.0.0.1:10000/acme",
        "http://localhost:10000": "http://localhost:10000/acme",
        "https://blobs.example.net": "https://blobs.example.net",
        "": "",
    }.items():
        assert read_terms(_grid("a", "azure://c00", account="acme", endpoint=endpoint)).access.endpoint == wanted


def test_every_row_has_its_sources() -> None:
    assert all(row.sources and row.scheme == scheme for scheme, row in PROVIDERS.items())


def test_a_place_is_written_as_for_s3() -> None:
    location = read_place("azure://acme/some/where", AZURE)
    assert (location.bucket, location.prefix, location.identity.key) == (
        "acme", "some/where/{bucket}/", "some/where/.holdfast/identity",
    )  # fmt: skip
