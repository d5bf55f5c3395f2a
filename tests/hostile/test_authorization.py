"""Authorization as a table: every operation there is, by every way in which a signature can be wrong.

The honest request reaches the store, or is told that the operation is not implemented. No other one reaches any method of the store
(where the body itself is what is wrong: leaves anything behind), and each hears S3's code for it. The operations are those of
`wire/operations.py`: a new row is in here by itself, and when its honest request needs more than its markers, NEEDS says what.
"""

from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, Final

import pytest

from holdfast import s3
from holdfast.events import RequestEnded, Teller
from holdfast.grids.memory import MemoryGrid
from holdfast.model import Facts
from holdfast.s3.identities import OWNER_ID
from holdfast.serve.gateway import Gateway
from holdfast.serve.methods import METHODS
from holdfast.signing import UNSIGNED_PAYLOAD, amz_date
from holdfast.testing.rawhttp import RawClient, StillClock, run, serving
from holdfast.testing.scene import ACCESS, NOW_MS, REGION, SECRET, code_of, guard_of
from holdfast.wire.operations import OPERATIONS, BodyKind, Operation, Scope
from tests.engine import BUCKET, Engine, engine
from tests.hostile.forging import DAY_MS, Ask, Sent, Terms, by_chunks, by_header, by_query

KEY: Final = "a key/ü"
MINUTE_MS: Final = 60_000
PATHS: Final = {Scope.SERVICE: "/", Scope.BUCKET: f"/{BUCKET}", Scope.OBJECT: f"/{BUCKET}/{KEY}"}
VALUES: Final = {"list-type": "2", "uploadId": "", "x-amz-copy-source": f"/{BUCKET}/source", "x-amz-request-route": "r"}
"""What markers are given where that matters."""
POLICY: Final = (
    b'{"Statement": [{"Effect": "Allow", "Principal": {"AWS": "000000000000"}, "Action": "s3:GetObject", "Resource": "arn:aws:s3:::'
    + BUCKET.encode()
    + b'/*"}]}'
)
ACL: Final = (
    f"<AccessControlPolicy><Owner><ID>{OWNER_ID}</ID></Owner><AccessControlList><Grant><Grantee><ID>{OWNER_ID}</ID></Grantee>"
    "<Permission>FULL_CONTROL</Permission></Grant></AccessControlList></AccessControlPolicy>"
).encode()
NEEDS: Final[dict[str, Ask]] = {
    "GetObjectAttributes": Ask("", "", headers={"x-amz-object-attributes": "ETag"}),
    "UploadPart": Ask("", "", query=(("partNumber", "1"),)),
    "UploadPartCopy": Ask("", "", query=(("partNumber", "1"),)),
    "CreateBucket": Ask("", "/another"),
    "PutBucketVersioning": Ask(
        "", "", body=b"<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>"
    ),
    "PutBucketLifecycleConfiguration": Ask(
        "",
        "",
        body=b"<LifecycleConfiguration><Rule><Filter/><Status>Enabled</Status><Expiration><Days>9</Days></Expiration></Rule>"
        b"</LifecycleConfiguration>",
    ),
    "PutBucketLogging": Ask("", "", body=b"<BucketLoggingStatus/>"),
    "PutBucketNotificationConfiguration": Ask("", "", body=b"<NotificationConfiguration/>"),
    "PutBucketEncryption": Ask(
        "",
        "",
        body=b"<ServerSideEncryptionConfiguration><Rule><ApplyServerSideEncryptionByDefault><SSEAlgorithm>AES256</SSEAlgorithm>"
        b"</ApplyServerSideEncryptionByDefault></Rule></ServerSideEncryptionConfiguration>",
    ),
    "PutObjectLockConfiguration": Ask(
        "",
        "",
        body=b"<ObjectLockConfiguration><ObjectLockEnabled>Enabled</ObjectLockEnabled></ObjectLockConfiguration>",
    ),
    "PutObjectRetention": Ask(
        "",
        "",
        body=b"<Retention><Mode>GOVERNANCE</Mode><RetainUntilDate>2999-01-01T00:00:00Z</RetainUntilDate></Retention>",
    ),
    "PutObjectLegalHold": Ask("", "", body=b"<LegalHold><Status>ON</Status></LegalHold>"),
    "PutBucketAcl": Ask("", "", body=ACL),
    "PutObjectAcl": Ask("", "", body=ACL),
    "PutBucketPolicy": Ask("", "", body=POLICY),
    "PutPublicAccessBlock": Ask(
        "",
        "",
        body=b"<PublicAccessBlockConfiguration><IgnorePublicAcls>true</IgnorePublicAcls></PublicAccessBlockConfiguration>",
    ),
    "PutBucketOwnershipControls": Ask(
        "",
        "",
        body=b"<OwnershipControls><Rule><ObjectOwnership>BucketOwnerEnforced</ObjectOwnership></Rule></OwnershipControls>",
    ),
    "PutBucketCors": Ask(
        "",
        "",
        body=b"<CORSConfiguration><CORSRule><AllowedMethod>GET</AllowedMethod><AllowedOrigin>*</AllowedOrigin></CORSRule>"
        b"</CORSConfiguration>",
    ),
    "PutBucketWebsite": Ask(
        "", "", body=b"<WebsiteConfiguration><IndexDocument><Suffix>i</Suffix></IndexDocument></WebsiteConfiguration>"
    ),
    "PutBucketRequestPayment": Ask(
        "", "", body=b"<RequestPaymentConfiguration><Payer>Requester</Payer></RequestPaymentConfiguration>"
    ),
    "PutBucketTagging": Ask("", "", body=b"<Tagging><TagSet/></Tagging>"),
    "PutObjectTagging": Ask("", "", body=b"<Tagging><TagSet/></Tagging>"),
    "DeleteObjects": Ask("", "", body=b"<Delete><Object><Key>k</Key></Object></Delete>"),
    "CompleteMultipartUpload": Ask(
        "",
        "",
        body=b"<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>e</ETag></Part></CompleteMultipartUpload>",
    ),
}
"""What the honest request of an operation has beyond its markers."""
NOTHING_THERE: Final = (
    "NoSuchKey",
    "NoSuchTagSet",
    "NoSuchCORSConfiguration",
    "NoSuchWebsiteConfiguration",
    "NoSuchConfiguration",
    "ReplicationConfigurationNotFoundError",
    "InvalidPart",
    "BucketNotEmpty",
    "InvalidBucketState",
    "InvalidRequest",
    "NoSuchLifecycleConfiguration",
    "ObjectLockConfigurationNotFoundError",
    "NoSuchBucketPolicy",
    "NoSuchPublicAccessBlockConfiguration",
    "ServerSideEncryptionConfigurationNotFoundError",
)
"""Codes of honest requests for what is not there, or not possible there."""
BEFORE_THE_STORE: Final = {"GetBucketPolicyStatus": "NoSuchBucketPolicy"}
"""What is answered without it."""
ROWS: Final = [row for row in OPERATIONS if not row.unsigned and row.name != "WriteGetObjectResponse"]
"""What browsers ask without a signature in the headers is in `tests/clients/test_boto3_forms.py` and `test_boto3_cors.py`; and WriteGetObjectResponse without
the header that makes it one is an upload form."""
IMPLEMENTED: Final = [row for row in ROWS if row.parse is not None]
WITH_BODY: Final = [row for row in IMPLEMENTED if row.body is not BodyKind.NONE]


class Counting:
    """The real store, and which of its methods were reached."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.reached: list[str] = []

    def __getattr__(self, name: str) -> Callable[..., Coroutine[Any, Any, Any]]:
        if name not in METHODS.values():
            raise AttributeError(name)
        method = getattr(self.engine.store, name)

        async def counted(*asked: Any) -> Any:
            self.reached.append(name)
            return await method(*asked)

        return counted

    async def contents(self) -> object:
        """Everything that a write could have changed."""
        buckets = await self.engine.store.list_buckets(s3.ListBuckets())
        listed = await self.engine.store.list_objects(s3.ListObjects(BUCKET, v2=True))
        parts = await self.engine.store.list_parts(s3.ListParts(BUCKET, KEY, self.upload))
        uploads = await self.engine.store.list_multipart_uploads(s3.ListMultipartUploads(BUCKET))
        return buckets.buckets, listed.page, parts.parts, uploads.page

    upload = ""


class Table:
    """A gateway on a socket with the real store behind it."""

    def __init__(self, store: Counting, port: int, told: list[RequestEnded]) -> None:
        self.store = store
        self.port = port
        self.told = told
        self._client: RawClient | None = None

    def ask(self, row: Operation) -> Ask:
        """The honest request of an operation."""
        need = NEEDS.get(row.name, Ask("", ""))
        query = [(name, self.store.upload if name == "uploadId" else VALUES.get(name, "")) for name in row.query]
        headers = {"x-amz-meta-a": "b", **need.headers}
        if row.header:
            headers[row.header] = VALUES[row.header]
        body = need.body or (b"a body of some bytes" if row.body is BodyKind.STREAM else b"")
        return Ask(row.method, need.path or PATHS[row.scope], (*query, *need.query), headers, body)

    async def answer(self, sent: Sent) -> tuple[int, str]:
        """Status and code of the answer, which reached the store or did not."""
        if self._client is None:
            self._client = await RawClient.connect(self.port)
        answer = await self._client.ask(sent.bytes)
        event = self.told[-1]
        if answer.headers.get("connection") == "close":
            self._client.leave()
            self._client = None
        if answer.status >= 400 and sent.method != "HEAD":
            assert code_of(answer) == event.code
        assert SECRET.encode() not in answer.body
        return answer.status, event.code


def tabled(tmp_path: Path, body: Callable[[Table], Coroutine[Any, Any, None]]) -> None:
    """Run `body` with a table whose store has a bucket, a source for copies and a multipart upload."""

    async def main() -> None:
        async with engine(tmp_path, [MemoryGrid("a")]) as made:
            store = Counting(made)
            await made.put("source", b"of a copy")
            created = await made.store.create_multipart_upload(s3.CreateMultipartUpload(BUCKET, KEY, Facts()))
            store.upload = created.upload_id
            told: list[RequestEnded] = []
            teller = Teller()
            teller.subscribe(lambda event: told.append(event) if isinstance(event, RequestEnded) else None)
            gateway = Gateway(
                store, guard=guard_of(made.site.index), region=REGION, domain="", clock=StillClock(), teller=teller
            )
            async with serving(gateway.handle) as (_, port):
                await body(Table(store, port, told))

    run(main())


# --- what is honest ---

HONEST: Final[dict[str, Callable[[Ask], Sent]]] = {
    "by header": by_header,
    "by header, body unsigned": lambda ask: by_header(ask, Terms(payload=UNSIGNED_PAYLOAD)),
    "presigned": by_query,
    "at the last moment": lambda ask: by_query(ask, Terms(at_ms=NOW_MS - MINUTE_MS)),
    "for a week": lambda ask: by_query(ask, Terms(expires="604800")),
    "a clock that is late": lambda ask: by_header(ask, Terms(at_ms=NOW_MS - 15 * MINUTE_MS)),
    "a clock that is early": lambda ask: by_header(ask, Terms(at_ms=NOW_MS + 15 * MINUTE_MS)),
}
HONEST_BODIES: Final[dict[str, Callable[[Ask], Sent]]] = {
    "signed chunks": by_chunks,
    "signed chunks and trailer": lambda ask: by_chunks(ask, trailer=True),
}


@pytest.mark.parametrize("way", [*HONEST, *HONEST_BODIES])
def test_an_honest_request_is_allowed(tmp_path: Path, way: str) -> None:
    for row in IMPLEMENTED if way in HONEST else WITH_BODY:

        async def body(table: Table, row: Operation = row) -> None:
            status, code = await table.answer((HONEST | HONEST_BODIES)[way](table.ask(row)))
            if BEFORE_THE_STORE.get(row.name) == code:
                return
            assert len(table.store.reached) == 1, f"{row.name}: {status} {code}: does NEEDS say what it needs?"
            assert status < 300 or code in NOTHING_THERE, f"{row.name}: {code}"
            assert table.told[-1].access_key == ACCESS

        folder = tmp_path / row.name
        folder.mkdir()
        tabled(folder, body)


def test_an_honest_request_for_what_is_not_implemented_is_told_so(tmp_path: Path) -> None:
    async def body(table: Table) -> None:
        for row in ROWS:
            if row.parse is None:
                assert await table.answer(by_header(table.ask(row))) == (501, "NotImplemented"), row.name
        assert not table.store.reached

    tabled(tmp_path, body)


# --- what is wrong before the body ---


def _edited(part: str, to: str) -> Callable[[Ask], Sent]:
    """An Authorization header with one part exchanged."""

    def edit(ask: Ask) -> Sent:
        sent = by_header(ask)
        text = sent.value("authorization")
        assert part in text
        return sent.header("authorization", text.replace(part, to))

    return edit


def _authorization(text: str) -> Callable[[Ask], Sent]:
    return lambda ask: by_header(ask).header("authorization", text)


def _without(name: str) -> Callable[[Ask], Sent]:
    """A presigned query without one of its parameters."""

    def drop(ask: Ask) -> Sent:
        sent = by_query(ask)
        return sent._replace(query="&".join(pair for pair in sent.query.split("&") if not pair.startswith(name + "=")))

    return drop


def _anonymous(ask: Ask) -> Sent:
    sent = by_header(ask)
    return sent._replace(headers=tuple(pair for pair in sent.headers if pair[0] != "authorization"))


def _replayed(ask: Ask) -> Sent:
    """The signature of another request of the same moment."""
    other = by_header(ask._replace(path="/replayed/from", query=()))
    return by_header(ask).header("authorization", other.value("authorization"))


def _other_method(sent: Sent) -> Sent:
    return sent._replace(method={"GET": "DELETE", "HEAD": "GET"}.get(sent.method, "GET"), body=b"")


def _tampered_query(sent: Sent) -> Sent:
    return sent.asked("x-id=1")


OTHER_DAY: Final = amz_date(NOW_MS - DAY_MS)[:8]
MISMATCH, DENIED = "SignatureDoesNotMatch", "AccessDenied"
MALFORMED, PARAMETERS = "AuthorizationHeaderMalformed", "AuthorizationQueryParametersError"
ECDSA: Final = "AWS4-ECDSA-P256-SHA256"

WRONG: Final[dict[str, tuple[Callable[[Ask], Sent], str]]] = {
    "anonymous": (_anonymous, DENIED),
    "bare": (lambda ask: by_header(ask)._replace(headers=(("host", "x"),)), DENIED),
    "unknown key": (lambda ask: by_header(ask, Terms(access="AKIDSOMEBODY")), "InvalidAccessKeyId"),
    "key in other case": (lambda ask: by_header(ask, Terms(access=ACCESS.lower())), "InvalidAccessKeyId"),
    "empty secret": (lambda ask: by_header(ask, Terms(secret="")), MISMATCH),
    "wrong secret": (lambda ask: by_header(ask, Terms(secret=SECRET + "x")), MISMATCH),
    "tampered path": (lambda ask: (sent := by_header(ask))._replace(path=sent.path.rstrip("/") + "/x"), MISMATCH),
    "tampered query": (lambda ask: _tampered_query(by_header(ask)), MISMATCH),
    "tampered method": (lambda ask: _other_method(by_header(ask)), MISMATCH),
    "tampered header": (lambda ask: by_header(ask).header("x-amz-meta-a", "c"), MISMATCH),
    "signed header gone": (
        lambda ask: (sent := by_header(ask))._replace(headers=tuple(p for p in sent.headers if p[0] != "x-amz-meta-a")),
        MISMATCH,
    ),
    "signed header twice": (lambda ask: by_header(ask).added("x-amz-meta-a", "c"), MISMATCH),
    "tampered host": (lambda ask: by_header(ask).header("host", "s3.evil.example"), MISMATCH),
    "tampered digest": (lambda ask: by_header(ask).header("x-amz-content-sha256", UNSIGNED_PAYLOAD), MISMATCH),
    "tampered date": (lambda ask: by_header(ask).header("x-amz-date", amz_date(NOW_MS + 1000)), MISMATCH),
    "replayed signature": (_replayed, MISMATCH),
    "upper-case signature": (
        lambda ask: (sent := by_header(ask)).header(
            "authorization", sent.value("authorization").replace(sent.proof, sent.proof.upper())
        ),
        MISMATCH,
    ),
    "cut signature": (
        lambda ask: (sent := by_header(ask)).header("authorization", sent.value("authorization")[:-1]),
        MISMATCH,
    ),
    "empty signature": (
        lambda ask: (sent := by_header(ask)).header("authorization", sent.value("authorization")[:-64]),
        MISMATCH,
    ),
    "late": (lambda ask: by_header(ask, Terms(at_ms=NOW_MS - 16 * MINUTE_MS)), "RequestTimeTooSkewed"),
    "early": (lambda ask: by_header(ask, Terms(at_ms=NOW_MS + 16 * MINUTE_MS)), "RequestTimeTooSkewed"),
    "of yesterday": (lambda ask: by_header(ask, Terms(at_ms=NOW_MS - DAY_MS)), "RequestTimeTooSkewed"),
    "other region": (lambda ask: by_header(ask, Terms(region="eu-west-1")), MALFORMED),
    "other service": (lambda ask: by_header(ask, Terms(service="ec2")), MALFORMED),
    "other terminal": (lambda ask: by_header(ask, Terms(terminal="aws5_request")), MALFORMED),
    "other day": (lambda ask: by_header(ask, Terms(day=OTHER_DAY)), MALFORMED),
    "no day": (lambda ask: by_header(ask, Terms(day="today")), MALFORMED),
    "host not signed": (lambda ask: by_header(ask, Terms(unlisted=("host",))), DENIED),
    "x-amz header not signed": (lambda ask: by_header(ask).added("x-amz-acl", "public-read"), DENIED),
    "x-amz header not listed": (lambda ask: by_header(ask, Terms(unlisted=("x-amz-meta-a",))), DENIED),
    "no digest": (lambda ask: by_header(ask, Terms(without=("x-amz-content-sha256",))), "InvalidRequest"),
    "no date": (lambda ask: by_header(ask, Terms(without=("x-amz-date",))), DENIED),
    "unknown protection": (lambda ask: by_header(ask, Terms(payload="TRUST-ME")), "InvalidArgument"),
    "asymmetric protection": (
        lambda ask: by_header(ask, Terms(payload="STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD")),
        "InvalidArgument",
    ),
    "session token": (lambda ask: by_header(ask, Terms(token="a-token")), "InvalidToken"),
    "version 2": (_authorization(f"AWS {ACCESS}:bm90IGEgc2lnbmF0dXJlIQ=="), "InvalidRequest"),
    "version 4A": (lambda ask: by_header(ask, Terms(algorithm=ECDSA)), "InvalidRequest"),
    "other hash": (lambda ask: by_header(ask, Terms(algorithm="AWS4-HMAC-SHA1")), "InvalidRequest"),
    "algorithm in lower case": (lambda ask: by_header(ask, Terms(algorithm="aws4-hmac-sha256")), "InvalidArgument"),
    "basic": (_authorization("Basic QUtJREVYQU1QTEU6c2VjcmV0"), "InvalidArgument"),
    "bearer": (_authorization("Bearer a.b.c"), "InvalidArgument"),
    "empty authorization": (_authorization(""), "AccessDenied"),
    "algorithm alone": (_authorization("AWS4-HMAC-SHA256"), MALFORMED),
    "no credential": (_edited("Credential=", "Credentials="), MALFORMED),
    "no list": (_edited("SignedHeaders=", "Headers="), MALFORMED),
    "no signature": (_edited("Signature=", "Sign="), MALFORMED),
    "credential twice": (_edited("SignedHeaders=", "Credential=x, SignedHeaders="), MALFORMED),
    "credential without scope": (_edited(f"{ACCESS}/", "/"), MALFORMED),
    "nothing signed": (_edited("SignedHeaders=host", "SignedHeaders=;x"), DENIED),
    "authorized twice": (
        lambda ask: (sent := by_header(ask)).added("authorization", sent.value("authorization")),
        "BadRequest",
    ),
    "header and query": (
        lambda ask: (sent := by_header(ask))._replace(query=by_query(ask).query, headers=sent.headers),
        "InvalidArgument",
    ),
    "header and version 2": (
        lambda ask: by_header(ask).asked(f"AWSAccessKeyId={ACCESS}", "Signature=x", "Expires=1"),
        "InvalidArgument",
    ),
    "presigned by version 2": (
        lambda ask: _anonymous(ask).asked(f"AWSAccessKeyId={ACCESS}", "Signature=x", "Expires=9999999999"),
        "InvalidRequest",
    ),
    "presigned, expired": (lambda ask: by_query(ask, Terms(at_ms=NOW_MS - MINUTE_MS - 1000)), DENIED),
    "presigned, in the future": (lambda ask: by_query(ask, Terms(at_ms=NOW_MS + 16 * MINUTE_MS)), DENIED),
    "presigned for more than a week": (lambda ask: by_query(ask, Terms(expires="604801")), PARAMETERS),
    "presigned for no time": (lambda ask: by_query(ask, Terms(expires="0")), DENIED),
    "presigned for less than no time": (lambda ask: by_query(ask, Terms(expires="-1")), PARAMETERS),
    "presigned for a word": (lambda ask: by_query(ask, Terms(expires="ever")), PARAMETERS),
    "presigned, longer than signed": (
        lambda ask: (sent := by_query(ask))._replace(query=sent.query.replace("X-Amz-Expires=60", "X-Amz-Expires=600")),
        MISMATCH,
    ),
    "presigned, expiry twice": (lambda ask: by_query(ask).asked("X-Amz-Expires=600"), MISMATCH),
    "presigned, unknown key": (lambda ask: by_query(ask, Terms(access="AKIDSOMEBODY")), "InvalidAccessKeyId"),
    "presigned, wrong secret": (lambda ask: by_query(ask, Terms(secret="x")), MISMATCH),
    "presigned, tampered path": (
        lambda ask: (sent := by_query(ask))._replace(path=sent.path.rstrip("/") + "/x"),
        MISMATCH,
    ),
    "presigned, tampered query": (lambda ask: _tampered_query(by_query(ask)), MISMATCH),
    "presigned, tampered method": (lambda ask: _other_method(by_query(ask)), MISMATCH),
    "presigned, tampered header": (lambda ask: by_query(ask).header("x-amz-meta-a", "c"), MISMATCH),
    "presigned, tampered host": (lambda ask: by_query(ask).header("host", "s3.evil.example"), MISMATCH),
    "presigned, header not signed": (lambda ask: by_query(ask).added("x-amz-acl", "public-read"), DENIED),
    "presigned, copy source not signed": (lambda ask: by_query(ask).added("x-amz-copy-source-if-match", "*"), DENIED),
    "presigned, framing not signed": (
        lambda ask: by_query(ask).added("x-amz-content-sha256", "STREAMING-UNSIGNED-PAYLOAD-TRAILER"),
        DENIED,
    ),
    "presigned, host not signed": (lambda ask: by_query(ask, Terms(unlisted=("host",))), DENIED),
    "presigned, other region": (lambda ask: by_query(ask, Terms(region="eu-west-1")), PARAMETERS),
    "presigned, other service": (lambda ask: by_query(ask, Terms(service="ec2")), PARAMETERS),
    "presigned, other day": (lambda ask: by_query(ask, Terms(day=OTHER_DAY)), PARAMETERS),
    "presigned, version 4A": (lambda ask: by_query(ask, Terms(algorithm=ECDSA)), PARAMETERS),
    "presigned, session token": (lambda ask: by_query(ask).asked("X-Amz-Security-Token=t"), "InvalidToken"),
    **{
        f"presigned without {name}": (_without(name), PARAMETERS)
        for name in (
            "X-Amz-Algorithm",
            "X-Amz-Credential",
            "X-Amz-Date",
            "X-Amz-Expires",
            "X-Amz-SignedHeaders",
            "X-Amz-Signature",
        )
    },
}


@pytest.mark.parametrize("way", WRONG)
def test_a_wrong_signature_is_refused_for_every_operation(tmp_path: Path, way: str) -> None:
    forge, code = WRONG[way]

    async def body(table: Table) -> None:
        for row in ROWS:
            answer = await table.answer(forge(table.ask(row)))
            assert answer[1] == code, f"{row.name}: {answer}"
            assert not table.store.reached, row.name

    tabled(tmp_path, body)


# --- what is wrong with the body ---

WRONG_BODIES: Final[dict[str, tuple[Callable[[Ask], Sent], str]]] = {
    "tampered body": (
        lambda ask: (sent := by_header(ask))._replace(body=sent.body[:-1] + b"\0"),
        "XAmzContentSHA256Mismatch",
    ),
    "other digest": (lambda ask: by_header(ask, Terms(payload="0" * 64)), "XAmzContentSHA256Mismatch"),
    "presigned, other digest": (
        lambda ask: by_query(ask).added("x-amz-content-sha256", "0" * 64),
        "XAmzContentSHA256Mismatch",
    ),
    "wrong chunk": (lambda ask: by_chunks(ask, broken="chunk"), MISMATCH),
    "wrong end": (lambda ask: by_chunks(ask, broken="end"), MISMATCH),
    "wrong trailer": (lambda ask: by_chunks(ask, trailer=True, broken="trailer"), MISMATCH),
    "moved bytes": (lambda ask: by_chunks(ask, broken="swapped"), MISMATCH),
    "chunks without signatures": (lambda ask: by_chunks(ask, broken="bare"), "InvalidRequest"),
    "chunks of another request": (
        lambda ask: by_chunks(ask)._replace(body=by_chunks(ask._replace(path="/else/where")).body),
        MISMATCH,
    ),
    "cut chunks": (lambda ask: by_chunks(ask, broken="cut"), "IncompleteBody"),
}


@pytest.mark.parametrize("way", WRONG_BODIES)
def test_a_body_that_nobody_signed_leaves_nothing_behind(tmp_path: Path, way: str) -> None:
    forge, code = WRONG_BODIES[way]

    async def body(table: Table) -> None:
        before = await table.store.contents()
        for row in WITH_BODY:
            ask = table.ask(row)
            if not ask.body:
                ask = ask._replace(body=b"<CreateBucketConfiguration></CreateBucketConfiguration>")
            table.store.reached.clear()
            answer = await table.answer(forge(ask))
            assert answer[1] == code, f"{row.name}: {answer}"
            assert row.body is BodyKind.STREAM or not table.store.reached, row.name
            assert await table.store.contents() == before, row.name

    tabled(tmp_path, body)


def test_the_table_has_every_operation_and_every_row_is_selected_by_its_request(tmp_path: Path) -> None:
    async def body(table: Table) -> None:
        for row in ROWS:
            await table.answer(by_header(table.ask(row), Terms(secret="x")))
            if row.parse is not None:
                assert table.told[-1].operation == row.name
        assert len({row.name for row in ROWS}) == len(ROWS) == len(table.told)

    tabled(tmp_path, body)
