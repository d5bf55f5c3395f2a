"""The headers and the document of server-side encryption: what means what, and what is refused with which code."""

import base64
import hashlib
from typing import Any

import pytest

from holdfast import s3
from holdfast.errors import S3Error
from holdfast.model import Facts, Seal, SealKind, Span, Version
from holdfast.s3.encryption import BucketEncryption, CustomerKey, SealAsk, Sealed
from holdfast.s3.settings import SettingGot
from holdfast.wire.documents import DOCUMENTS
from holdfast.wire.parse_settings import body_of
from holdfast.wire.render import Reply, render, render_object
from holdfast.xml import parse_xml
from tests.unit import loopback
from tests.unit.loopback import make

SSE = "x-amz-server-side-encryption"
KEY = bytes(range(32))
MD5 = base64.b64encode(hashlib.md5(KEY).digest()).decode()
TEXT = base64.b64encode(KEY).decode()
CONTEXT = '{"team":"red"}'


def ask(method: str, target: str, headers: dict[str, str]) -> Any:
    return loopback.ask(method, target, {**headers})


def customer(start: str = SSE, key: str = TEXT, md5: str = MD5, algorithm: str = "AES256") -> dict[str, str]:
    named = {"algorithm": algorithm, "key": key, "key-md5": md5}
    return {f"{start}-customer-{name}": value for name, value in named.items() if value}


MINE = SealAsk(SealKind.CUSTOMER, customer=CustomerKey(KEY))
ASKED: list[tuple[dict[str, str], SealAsk | None]] = [
    ({}, None),
    ({SSE: "AES256"}, SealAsk(SealKind.S3)),
    ({SSE: "AES256", f"{SSE}-bucket-key-enabled": "false"}, SealAsk(SealKind.S3)),
    ({SSE: "aws:kms"}, SealAsk(SealKind.KMS)),
    ({SSE: "aws:kms", f"{SSE}-aws-kms-key-id": "key-1"}, SealAsk(SealKind.KMS, "key-1")),
    (
        {
            SSE: "aws:kms",
            f"{SSE}-context": base64.b64encode(CONTEXT.encode()).decode(),
            f"{SSE}-bucket-key-enabled": "true",
        },
        SealAsk(SealKind.KMS, "", CONTEXT, True),
    ),
    (customer(), MINE),
]


@pytest.mark.parametrize(("headers", "meant"), ASKED)
@pytest.mark.parametrize(
    ("method", "target", "more"),
    [
        ("PUT", "/photos/a", {}),
        ("PUT", "/photos/a", {"x-amz-copy-source": "/photos/b"}),
        ("POST", "/photos/a?uploads", {}),
    ],
)
def test_writes_say_how_an_object_is_sealed(
    headers: dict[str, str], meant: SealAsk | None, method: str, target: str, more: dict[str, str]
) -> None:
    value = ask(method, target, headers | more)
    assert value.seal == meant
    assert not any(SSE in name for name in value.facts.user | value.facts.system)


def base64_of(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({SSE: "AES128"}, "InvalidArgument"),
        ({SSE: ""}, "InvalidArgument"),
        ({SSE: "aws:kms:dsse"}, "NotImplemented"),
        ({f"{SSE}-aws-kms-key-id": "key-1"}, "InvalidArgument"),
        ({SSE: "AES256", f"{SSE}-aws-kms-key-id": "key-1"}, "InvalidArgument"),
        ({SSE: "aws:kms", f"{SSE}-aws-kms-key-id": "k" * 3000}, "InvalidArgument"),
        ({SSE: "aws:kms", f"{SSE}-aws-kms-key-id": "a\x01"}, "InvalidArgument"),
        ({SSE: "aws:kms", f"{SSE}-bucket-key-enabled": "yes"}, "InvalidArgument"),
        ({SSE: "aws:kms", f"{SSE}-context": "{}"}, "InvalidArgument"),
        ({SSE: "aws:kms", f"{SSE}-context": base64_of("[1]")}, "InvalidArgument"),
        ({SSE: "aws:kms", f"{SSE}-context": base64_of('{"a":1}')}, "InvalidArgument"),
        ({SSE: "aws:kms", f"{SSE}-context": base64_of('{"a":"' + "b" * 9000 + '"}')}, "InvalidArgument"),
        ({SSE: "AES256"} | customer(), "InvalidArgument"),
        ({f"{SSE}-aws-kms-key-id": "key-1"} | customer(), "InvalidArgument"),
    ],
)
def test_what_does_not_fit_together_is_refused(headers: dict[str, str], code: str) -> None:
    assert refusal("PUT", "/photos/a", headers).code == code


def refusal(method: str, target: str, headers: dict[str, str]) -> S3Error:
    with pytest.raises(S3Error) as caught:
        ask(method, target, headers)
    return caught.value


KEYS: list[tuple[dict[str, str], str]] = [
    ({"algorithm": ""}, "InvalidArgument"),
    ({"algorithm": "AES128"}, "InvalidEncryptionAlgorithmError"),
    ({"key": ""}, "InvalidArgument"),
    ({"md5": ""}, "InvalidArgument"),
    ({"key": "", "md5": ""}, "InvalidArgument"),
    ({"key": "no base64!"}, "InvalidArgument"),
    ({"key": base64.b64encode(KEY[:31]).decode()}, "InvalidArgument"),
    ({"md5": base64.b64encode(bytes(16)).decode()}, "InvalidArgument"),
    ({"md5": "é"}, "InvalidArgument"),
]


@pytest.mark.parametrize(
    ("method", "target"),
    [
        ("PUT", "/photos/a"),
        ("GET", "/photos/a"),
        ("HEAD", "/photos/a"),
        ("GET", "/photos/a?attributes"),
        ("POST", "/photos/a?uploads"),
        ("PUT", "/photos/a?uploadId=u&partNumber=1"),
    ],
)
@pytest.mark.parametrize(("changes", "code"), KEYS)
def test_a_client_s_key_is_whole_and_the_one_that_it_means(
    method: str, target: str, changes: dict[str, str], code: str
) -> None:
    attributes = {"x-amz-object-attributes": "ETag"}
    error = refusal(method, target, customer(**changes) | attributes)
    assert error.code == code
    assert TEXT not in str(error.fields) + error.message + error.detail


def test_reads_and_parts_bring_the_key() -> None:
    for method, target in (("GET", "/photos/a"), ("HEAD", "/photos/a"), ("PUT", "/photos/a?uploadId=u&partNumber=1")):
        assert ask(method, target, customer()).customer == CustomerKey(KEY)
        assert ask(method, target, {}).customer is None
    value = ask("GET", "/photos/a?attributes", customer() | {"x-amz-object-attributes": "ETag"})
    assert value.customer == CustomerKey(KEY)


def test_a_copy_has_a_key_of_its_source_and_one_of_its_target() -> None:
    other = bytes(32)
    md5 = base64.b64encode(hashlib.md5(other).digest()).decode()
    source = customer("x-amz-copy-source-server-side-encryption", base64.b64encode(other).decode(), md5)
    where = {"x-amz-copy-source": "/photos/b"}
    value = ask("PUT", "/photos/a", customer() | source | where)
    assert (value.seal, value.source.customer) == (MINE, CustomerKey(other))
    value = ask("PUT", "/photos/a", source | where)
    assert (value.seal, value.source.customer) == (None, CustomerKey(other))
    value = ask("PUT", "/photos/a?uploadId=u&partNumber=1", customer() | source | where)
    assert (value.customer, value.source.customer) == (CustomerKey(KEY), CustomerKey(other))


def test_reads_do_not_say_how_an_object_is_sealed() -> None:
    for method in ("GET", "HEAD"):
        for kind in ("AES256", "aws:kms"):
            assert refusal(method, "/photos/a", {SSE: kind}).status == 400


def test_parts_may_repeat_how_their_upload_is_sealed() -> None:
    headers = {SSE: "aws:kms", f"{SSE}-aws-kms-key-id": "key-1"}
    assert ask("PUT", "/photos/a?uploadId=u&partNumber=1", headers).customer is None


# --- replies ---


def told(reply: Reply) -> dict[str, str]:
    return {name: value for name, value in reply.headers if SSE in name}


SEALS: list[tuple[Seal, CustomerKey | None, dict[str, str]]] = [
    (Seal(SealKind.S3, b"w"), None, {SSE: "AES256"}),
    (
        Seal(SealKind.KMS, b"w", key_id="key-1", context=CONTEXT, bucket_key=True),
        None,
        {SSE: "aws:kms", f"{SSE}-aws-kms-key-id": "key-1", f"{SSE}-bucket-key-enabled": "true"},
    ),
    (
        Seal(SealKind.CUSTOMER, b"w"),
        CustomerKey(KEY),
        {f"{SSE}-customer-algorithm": "AES256", f"{SSE}-customer-key-MD5": MD5},
    ),
]


@pytest.mark.parametrize(("seal", "key", "headers"), SEALS)
def test_a_read_tells_how_an_object_is_sealed(seal: Seal, key: CustomerKey | None, headers: dict[str, str]) -> None:
    seal = Seal(seal.kind, b"w", 5, b"", seal.key_id, seal.context, seal.bucket_key)
    version = Version(1, 500, "e", 0, Facts(seal=seal), (), 0)
    asked = s3.GetObject("photos", "a", customer=key, range=s3.RangeAsk(0, 0))
    reply = render_object(asked, s3.ObjectGot(version, Span(0, 1), data=b"x"))
    assert told(reply) == headers
    assert dict(reply.headers)["Content-Range"] == "bytes 0-0/5"


def test_a_write_tells_the_context_too() -> None:
    sealed = Sealed(SealKind.KMS, "key-1", CONTEXT, False)
    reply = render(make("PUT", "/photos/a"), s3.ObjectPut("e", None, 1, sealed=sealed))
    assert told(reply) == {SSE: "aws:kms", f"{SSE}-aws-kms-key-id": "key-1", f"{SSE}-context": base64_of(CONTEXT)}


@pytest.mark.parametrize(
    "result",
    [
        s3.ObjectPut("e", None, 1, sealed=Sealed(SealKind.S3)),
        s3.ObjectCopied("e", 0, None, sealed=Sealed(SealKind.S3)),
        s3.UploadCreated("photos", "a", "u", None, None, sealed=Sealed(SealKind.S3)),
        s3.PartUploaded("e", None, Sealed(SealKind.S3)),
        s3.PartCopied("e", 0, None, Sealed(SealKind.S3)),
        s3.UploadCompleted("photos", "a", "e", None, sealed=Sealed(SealKind.S3)),
    ],
)
def test_every_write_tells_how_it_was_sealed(result: object) -> None:
    assert told(render(make("PUT", "/photos/a"), result)) == {SSE: "AES256"}


# --- the bucket's default ---


def document(inner: str) -> bytes:
    return f"<ServerSideEncryptionConfiguration>{inner}</ServerSideEncryptionConfiguration>".encode()


def default(algorithm: str, key: str = "") -> str:
    key_id = f"<KMSMasterKeyID>{key}</KMSMasterKeyID>" if key else ""
    return (
        f"<ApplyServerSideEncryptionByDefault><SSEAlgorithm>{algorithm}</SSEAlgorithm>{key_id}"
        "</ApplyServerSideEncryptionByDefault>"
    )


def blocked(*names: str) -> str:
    listed = "".join(f"<EncryptionType>{name}</EncryptionType>" for name in names)
    return f"<BlockedEncryptionTypes>{listed}</BlockedEncryptionTypes>"


SETTINGS: list[tuple[str, BucketEncryption]] = [
    (default("AES256"), BucketEncryption(SealKind.S3)),
    (default("aws:kms"), BucketEncryption(SealKind.KMS)),
    (
        default("aws:kms", "key-1") + "<BucketKeyEnabled>true</BucketKeyEnabled>",
        BucketEncryption(SealKind.KMS, "key-1", True),
    ),
    (default("AES256") + blocked("SSE-C"), BucketEncryption(SealKind.S3, blocked=("SSE-C",))),
    (blocked("NONE"), BucketEncryption(None, blocked=("NONE",))),
]


def read(body: bytes) -> Any:
    return DOCUMENTS["encryption"].read(parse_xml(body, "ServerSideEncryptionConfiguration"))


@pytest.mark.parametrize(("rule", "meant"), SETTINGS)
def test_a_bucket_s_default_is_read_and_written(rule: str, meant: BucketEncryption) -> None:
    found = read(document(f"<Rule>{rule}</Rule>"))
    assert found == meant
    again = read(document(DOCUMENTS["encryption"].write(found)))
    assert (again.kind, again.key_id, again.blocked) == (meant.kind, meant.key_id, meant.blocked)
    assert bool(again.bucket_key) is bool(meant.bucket_key)


@pytest.mark.parametrize(
    ("inner", "code"),
    [
        ("", "MalformedXML"),
        ("<Rule></Rule>", "MalformedXML"),
        (f"<Rule>{default('AES256')}</Rule>" * 2, "MalformedXML"),
        (f"<Rule>{default('AES128')}</Rule>", "MalformedXML"),
        (f"<Rule>{default('AES256', 'key-1')}</Rule>", "InvalidArgument"),
        (f"<Rule>{default('aws:kms:dsse')}</Rule>", "NotImplemented"),
        (f"<Rule>{default('AES256')}<BucketKeyEnabled>1</BucketKeyEnabled></Rule>", "MalformedXML"),
        (f"<Rule>{default('AES256')}{blocked('SSE-S3')}</Rule>", "MalformedXML"),
    ],
)
def test_a_default_that_means_nothing_is_refused(inner: str, code: str) -> None:
    with pytest.raises(S3Error) as caught:
        read(document(inner))
    assert caught.value.code == code


def test_a_bucket_without_a_default_says_so() -> None:
    with pytest.raises(S3Error) as caught:
        body_of(SettingGot("photos", "encryption", None))
    assert (caught.value.code, caught.value.status) == ("ServerSideEncryptionConfigurationNotFoundError", 404)
