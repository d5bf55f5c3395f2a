"""What is fuzzed: one function per surface that bytes from outside reach, each with the property that must hold for any bytes.

Shared by the tests, which replay the corpus and try a few more, and by `make fuzz`, which goes on for as long as it is told. A
target returns when the property held, raises AssertionError when it did not, and whatever else it raises is a defect, too.
Pure but for `configuration`, which looks at (and never changes) this machine's files. Invariant: one input, one outcome.
"""

import contextlib
import hashlib
import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

from holdfast import s3
from holdfast.errors import CODES, GridError, S3Error
from holdfast.grids import metadata, names
from holdfast.grids.grid import Label
from holdfast.grids.s3 import labels, replies
from holdfast.limits import KEY_BYTES, LIST_PAGE, OBJECT_BYTES, PART_NUMBER_MAX, PUT_BYTES
from holdfast.model import Place, pack
from holdfast.signing import (
    amz_date,
    canonical_headers,
    canonical_query,
    chunk_signature,
    encode_path,
    presign,
    sign_headers,
    signing_key,
    trailer_signature,
)
from holdfast.wire import conditions, parse
from holdfast.wire.browser.form import form_key, put_request
from holdfast.wire.browser.multipart import FormParser
from holdfast.wire.browser.policy import check_form, read_policy
from holdfast.wire.chunked import ChunkDecoder
from holdfast.wire.operations import BodyKind, Operation, route
from holdfast.wire.parse_buckets import fill_bucket
from holdfast.wire.parse_multipart import fill_complete
from holdfast.wire.parse_objects import fill_deletes, put_object
from holdfast.wire.render import render_error
from holdfast.wire.request import Request, parse_query, parse_request
from holdfast.wire.sigv4 import Keys, Payload, Signed, authenticate
from holdfast.xml import document, element, legible, parse_xml
from tests.fuzz.configuring import configuration, notation
from tests.fuzz.conversing import converse

ACCESS, SECRET, REGION, DOMAIN = "AKIDEXAMPLE", "a-secret", "us-east-1", "s3.test"
NOW_MS = 1_700_000_000_000
_CONTROL = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9a-z-]+")


def splits(data: bytes) -> Iterable[Sequence[bytes]]:
    """The same bytes as they may arrive: at once, one by one when they are few, and in two pieces."""
    yield [data]
    if len(data) <= 256:
        yield [data[at : at + 1] for at in range(len(data))]
    at = int.from_bytes(hashlib.sha256(data).digest()[:4], "big") % (len(data) + 1)
    yield [piece for piece in (data[:at], data[at:]) if piece]


# --- what browsers send ---


def forms(data: bytes) -> None:
    """An upload form means the same however it is cut; what is given out as its file is in it, and its policy allows or refuses."""
    outcomes = [_form(pieces) for pieces in splits(data)]
    assert all(outcome == outcomes[0] for outcome in outcomes), outcomes
    fields, content, _ = outcomes[0]
    assert content in data
    with contextlib.suppress(S3Error):
        key = form_key(fields, "f")
        assert 1 <= len(key.encode()) <= KEY_BYTES and "\0" not in key
        put = put_object(put_request(parse_request("POST", b"/bucket", []), fields, key))
        assert (put.bucket, put.key) == ("bucket", key)
    with contextlib.suppress(S3Error):
        policy = read_policy(fields.get("policy", ""))
        assert policy.least_bytes >= 0 and 0 <= policy.most_bytes <= PUT_BYTES
        check_form(policy, fields, bucket="bucket", now_ms=NOW_MS)
        unchecked = {"policy", "file", "signature", "awsaccesskeyid", "x-amz-signature"}
        covered = {condition.field for condition in policy.conditions}
        assert all(name in covered | unchecked or name.startswith("x-ignore-") for name in fields)


def _form(pieces: Sequence[bytes]) -> tuple[dict[str, str], bytes, str]:
    """Fields, file, and the code of what was wrong."""
    parser = FormParser(b"b")
    try:
        content = [parser.feed(piece) for piece in pieces]
        parser.end()
    except S3Error as error:
        check_error(error, "/bucket")
        return {}, b"", error.code
    return parser.fields, b"".join(content), ""


# --- requests ---


def head(data: bytes) -> None:
    """Bytes on a connection: what becomes of them never depends on how they arrive, and never has two readings."""
    outcomes = [converse(pieces) for pieces in splits(data)]
    assert all(outcome == outcomes[0] for outcome in outcomes), outcomes
    for outcome in outcomes[0]:
        for name, value in outcome.headers:
            assert name and not re.search(rb"[\x00\r\n]", name + value)
        assert not re.search(rb"[\x00-\x20\x7f]", outcome.target)
        framing = [name for name, _ in outcome.headers if name in (b"content-length", b"transfer-encoding")]
        assert len(framing) <= 1, "a body with two ends"
        length = dict(outcome.headers).get(b"content-length")
        if length is not None:
            assert length.isdigit()
            assert outcome.code or len(outcome.body) == int(length)
        elif not framing:
            assert outcome.body == b""


def _request_of(data: bytes) -> tuple[Request, bytes] | None:
    """`METHOD target`, lines of headers, a blank line, a body. None for what S3 refuses."""
    top, _, body = data.partition(b"\n\n")
    first, *lines = top.split(b"\n")
    method, _, target = first.partition(b" ")
    headers = [(name, value) for name, _, value in (line.partition(b":") for line in lines)]
    if any(_CONTROL.search(part) for part in (target, *(name + value for name, value in headers))):
        return None  # No connection brings that.
    try:
        return parse_request(method, target, headers, domain=DOMAIN), body
    except S3Error as error:
        check_error(error, target.decode("latin-1"))
        return None


def check_error(error: S3Error, resource: str) -> None:
    """It is a row of the table, and every client can read its reply."""
    reply = render_error(error, request_id="1", host_id="2", resource=resource, head=False)
    assert reply.status == CODES[error.code].status
    assert parse_xml(reply.body, "Error").get("Code") == error.code
    assert all("\n" not in name and ":" not in name for name, _ in reply.headers)


def request(data: bytes) -> None:
    """A head becomes a typed operation or an S3 error that every client can read."""
    found = _request_of(data)
    if found is None:
        return
    it, body = found
    assert len(it.key.encode()) <= KEY_BYTES and "\0" not in it.key and "\0" not in it.bucket + it.path
    try:
        operation = route(it)
        asked = _ask(operation, it, body)
    except S3Error as error:
        check_error(error, it.path)
        return
    assert pack(asked) == pack(_ask(operation, it, body))
    limit = getattr(asked, "limit", None)
    assert limit is None or 0 <= limit <= max(LIST_PAGE, 10_000)
    assert 0 <= getattr(asked, "number", 1) <= PART_NUMBER_MAX


def _ask(operation: Operation, it: Request, body: bytes) -> Any:
    assert operation.parse is not None
    asked = operation.parse(it)
    if operation.body is BodyKind.XML and operation.fill is not None:
        return operation.fill(asked, body)
    return asked


def signature(data: bytes) -> None:
    """Whatever stands in an Authorization header or a presigned query, the answer is an S3 error; without either it is nobody's."""
    found = _request_of(data)
    if found is None:
        return
    try:
        signed = authenticate(found[0], Keys({ACCESS: SECRET}.get, region=REGION), NOW_MS)
    except S3Error as error:
        check_error(error, found[0].path)
    else:
        assert not signed.access_key, "a signature was found by chance"


def tampering(data: bytes) -> None:
    """A signed request in which one byte is changed is refused, or means exactly what was signed.

    Three bytes say where and how, a fourth the form; then lines: method and path, a query, headers.
    """
    if len(data) < 4:
        return
    at, how, form = int.from_bytes(data[:2], "big"), data[2], data[3] % 2
    try:
        first, query, *lines = data[4:].decode().split("\n")
        method, _, path = first.partition(" ")
        items = parse_query(query.encode())
    except (ValueError, S3Error):
        return
    given = {name: value.strip(" \t") for name, _, value in (line.partition(":") for line in lines)}
    given = {name: value for name, value in given.items() if _TOKEN.fullmatch(name) and value.isprintable()}
    given |= {"host": "h"}
    taken = {"authorization", "x-amz-security-token", "x-amz-date", "x-amz-content-sha256", "content-length"}
    if not path.startswith("/") or not _TOKEN.fullmatch(method.lower()) or taken & given.keys():
        return
    if any(name.startswith(("X-Amz-", "Signature", "AWSAccessKeyId")) for name, _ in items):
        return
    terms: dict[str, Any] = {"access_key": ACCESS, "secret_key": SECRET, "region": REGION, "now_ms": NOW_MS}
    if form:
        sent = given
        query = presign(method, path, items, given, expires_s=60, **terms)
    else:
        sent = sign_headers(method, path, items, given, payload="UNSIGNED-PAYLOAD", **terms)
        query = canonical_query(items)
    parts = [method.encode(), encode_path(path).encode() + b"?" + query.encode()]
    parts += [text.encode() for pair in sent.items() for text in pair]
    honest = _judge(parts)
    if honest is None:
        return
    at %= sum(map(len, parts)) or 1
    for number, part in enumerate(parts):
        if at < len(part):
            parts[number] = _changed(part, at, how)
            break
        at -= len(part)
    if any(_CONTROL.search(part) for part in parts):
        return
    twisted = _judge(parts, honest=False)
    assert twisted is None or twisted == honest


def _changed(part: bytes, at: int, how: int) -> bytes:
    match how % 3:
        case 0:
            return part[:at] + bytes([how]) + part[at + 1 :]
        case 1:
            return part[:at] + bytes([how]) + part[at:]
        case _:
            return part[:at] + part[at + 1 :]


def _judge(parts: list[bytes], *, honest: bool = True) -> object:
    """Who asks for what, by a request that is taken; None for one that is refused. A signed header that is absent is an empty one."""
    method, target, *texts = parts
    try:
        it = parse_request(
            method, target, [(name.lower(), value) for name, value in zip(texts[::2], texts[1::2], strict=True)]
        )
    except S3Error:
        return None
    try:
        signed = authenticate(it, Keys({ACCESS: SECRET}.get, region=REGION), NOW_MS)
    except S3Error:
        assert not honest, "an honest request was refused"
        return None
    if not signed.access_key:
        assert not honest, "an honest request was taken for nobody's"
        return None
    authorization = it.headers.get("authorization", "") or it.query["X-Amz-SignedHeaders"]
    listed = (
        sorted(set(re.findall(r"SignedHeaders=([^, ]*)", authorization) or [authorization])).pop().lower().split(";")
    )
    query = sorted(item for item in it.query_items if item[0] != "X-Amz-Signature")
    return signed.access_key, it.method, it.path, query, canonical_headers(sorted(listed), it.headers), signed.payload


# --- bodies ---


def chunks(data: bytes) -> None:
    """aws-chunked: any split gives the same; what was framed comes back; what was changed under a signature does not.

    A byte says the form, one the size of chunks, two which byte is changed; the rest is once a body and once a framing.
    """
    if len(data) < 4:
        return
    payload = (Payload.STREAM_UNSIGNED_TRAILER, Payload.STREAM_SIGNED, Payload.STREAM_SIGNED_TRAILER)[data[0] % 3]
    body = data[4:]
    outcomes = [_decoded(pieces, payload, None) for pieces in splits(body)]
    assert all(outcome == outcomes[0] for outcome in outcomes), outcomes
    framed = _framed(body, data[1] + 1, payload)
    for pieces in splits(framed):
        assert _decoded(pieces, payload, len(body))[0] == body
    if payload is not Payload.STREAM_UNSIGNED_TRAILER:
        at = int.from_bytes(data[2:4], "big") % len(framed)
        changed = framed[:at] + bytes([framed[at] ^ (data[2] | 1)]) + framed[at + 1 :]
        assert _decoded([changed], payload, len(body))[0] in (body, None)


_DATE = amz_date(NOW_MS)
_SCOPE = f"{_DATE[:8]}/{REGION}/s3/aws4_request"
_KEY = signing_key(SECRET, _DATE[:8], REGION)
_SEED = "0" * 64
_TRAILER = "x-amz-checksum-crc32"


def _decoded(pieces: Sequence[bytes], payload: Payload, size: int | None) -> tuple[bytes | None, str]:
    """The body, or the code of the error."""
    signed = Signed(ACCESS, payload, "", _SEED, _KEY, _SCOPE, _DATE, False)
    announced = () if payload is Payload.STREAM_SIGNED or (size is None and len(pieces) == 0) else (_TRAILER,)
    decoder = ChunkDecoder(signed, decoded_length=size, trailer_names=announced)
    body = b""
    try:
        for piece in pieces:
            body += b"".join(decoder.feed(piece))
        decoder.end()
    except S3Error as error:
        return None, error.code
    assert decoder.finished
    return body, str(decoder.trailers)


def _framed(body: bytes, size: int, payload: Payload) -> bytes:
    previous, framed = _SEED, b""
    signed = payload is not Payload.STREAM_UNSIGNED_TRAILER
    for at in (*range(0, len(body), size), len(body)):
        piece = body[at : at + size]
        previous = chunk_signature(_KEY, _DATE, _SCOPE, previous, hashlib.sha256(piece).hexdigest())
        proof = b";chunk-signature=" + previous.encode() if signed else b""
        framed += b"%x%b\r\n%b" % (len(piece), proof, piece) + b"\r\n" * bool(piece)
    if payload is not Payload.STREAM_SIGNED:
        framed += f"{_TRAILER}:AAAAAA==\r\n".encode()
        if signed:
            proof = trailer_signature(_KEY, _DATE, _SCOPE, previous, [(_TRAILER, "AAAAAA==")]).encode()
            framed += b"x-amz-trailer-signature:" + proof + b"\r\n"
    return framed + b"\r\n"


_LEGAL = re.compile("[\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]*")


def xml(data: bytes) -> None:
    """Every XML body is what it should be, or MalformedXML and its like; text that we write is read back as it was."""
    for fill in (
        lambda: fill_deletes(s3.DeleteObjects("b"), data),
        lambda: fill_bucket(s3.CreateBucket("b"), data),
        lambda: fill_complete(s3.CompleteMultipartUpload("b", "k", "u"), data),
    ):
        try:
            fill()
        except S3Error as error:
            check_error(error, "/")
    text = data.decode("utf-8", "replace")
    written = document("Root", element("Text", legible(text)))
    assert parse_xml(written, "Root").get("Text") == legible(text)
    if _LEGAL.fullmatch(text):
        assert legible(text) == text


# --- small grammars ---


def small_grammars(data: bytes) -> None:
    """Ranges, dates, etags, conditions, numbers and tokens of a request's headers and query."""
    text = data.decode("utf-8", "replace")
    asked = conditions.parse_range(text)
    if asked is not None:
        assert all(value is None or 0 <= value <= OBJECT_BYTES for value in (asked.first, asked.last, asked.suffix))
        assert asked.first is None or asked.last is None or asked.first <= asked.last
    at_ms = conditions.parse_http_date(text)
    if at_ms is not None:
        assert conditions.parse_http_date(conditions.http_date(at_ms)) == at_ms
        assert conditions.iso_date(at_ms)
    for etag in conditions.parse_etags(text):
        assert etag == "*" or conditions.parse_etags(f'"{etag}"') == (etag,) or etag == '"*"' or '"' in etag
    with contextlib.suppress(S3Error):
        span = conditions.parse_copy_range(text)
        assert 0 <= span.start < span.end
    for read in (parse.decode_token, parse.part_number, parse.match_condition):
        with contextlib.suppress(S3Error):
            read(text)
    assert len(text.encode()) > KEY_BYTES or parse.decode_token(parse.encode_token(text)) == text
    with contextlib.suppress(S3Error):
        key = parse.decode_token(text)
        assert len(key.encode()) <= KEY_BYTES and (not key or parse.encode_token(key) == text)


# --- what grids say ---


def grid_replies(data: bytes) -> None:
    """A provider may answer anything: a status in two bytes, lines of headers, a blank line, a body."""
    status = 100 + int.from_bytes(data[:2], "big") % 500
    top, _, body = data[2:].partition(b"\n\n")
    lines = [line.partition(":") for line in top.decode("utf-8", "surrogateescape").split("\n")]
    headers = {name.lower(): value.strip() for name, _, value in lines}
    for changes in (False, True):
        asked = replies.Asked("grid", "get", Place("b", "k"), "bucket", changes)
        error = replies.classify(asked, status, headers, body, now_ms=NOW_MS)
        assert isinstance(error, GridError) and error.grid == "grid"
        with contextlib.suppress(GridError):
            replies.reply_tree(asked, body, headers, "ListBucketResult", "CopyObjectResult", now_ms=NOW_MS)
    for value in headers.values():
        replies.date_ms(value)
        replies.iso_ms(value)
        assert (replies.retry_after_s({"retry-after": value}, now_ms=NOW_MS) or 0) >= 0
        metadata.decode(value)
    found = labels.label_of(headers)
    assert found is None or isinstance(found, Label)


def grid_labels(data: bytes) -> None:
    """Metadata of any text comes back from a grid as it went: lines of `name:value`."""
    text = data.decode("utf-8", "replace")
    assert metadata.decode(metadata.encode(text)) == text
    assert metadata.encode(text).isascii()
    pairs = dict(line.partition(":")[::2] for line in text.split("\n"))
    system = {name: value for name, value in pairs.items() if name in ("content-type", "expires", "content-language")}
    label = Label(
        len(text), text[:20], NOW_MS, system, {name: value for name, value in pairs.items() if name not in system}
    )
    headers = labels.headers_of(label, room_bytes=1 << 20)
    assert all(value.isascii() and value.isprintable() for value in headers.values())
    assert labels.label_of({name.lower(): value for name, value in headers.items()}) == label


def folder_names(data: bytes) -> None:
    """Keys become paths that stay below their directory, and come back."""
    key = data.decode("utf-8", "replace")[:KEY_BYTES]
    hard = names.hard(key)
    assert names.key_of(hard) == key
    for path in (hard, names.plain(key)):
        if path is not None:
            assert b"\0" not in path and all(
                part not in (b"", b".", b"..") and len(part) <= 255 for part in path.split(b"/")
            )
    plain = names.plain(key)
    assert plain is None or (plain == key.encode() and plain.split(b"/")[0] != b".holdfast")
    with contextlib.suppress(ValueError):
        assert names.hard(names.key_of(data)) == data


TARGETS: Final[dict[str, Callable[[bytes], None]]] = {
    "head": head,
    "request": request,
    "signature": signature,
    "tampering": tampering,
    "chunks": chunks,
    "forms": forms,
    "xml": xml,
    "small_grammars": small_grammars,
    "grid_replies": grid_replies,
    "grid_labels": grid_labels,
    "folder_names": folder_names,
    "configuration": configuration,
    "notation": notation,
}
"""By the name of the folder in `corpus` that has its inputs."""
