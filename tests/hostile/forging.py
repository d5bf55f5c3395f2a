"""Requests with signatures, and everything that can be wrong with one.

Answers for signing by Amazon's rules with any term of it replaced: the key, the day, what is listed, what is sent. Its arithmetic is
that of `signing`, which other tests hold against Amazon's examples and botocore. Invariant: with nothing replaced the request is honest.
"""

import hashlib
from collections.abc import Mapping
from typing import NamedTuple

from holdfast.digests import checksum_text
from holdfast.model import Algorithm
from holdfast.signing import (
    ALGORITHM,
    UNSIGNED_PAYLOAD,
    amz_date,
    canonical_headers,
    canonical_query,
    chunk_signature,
    encode_path,
    signature,
    signing_key,
    string_to_sign,
    trailer_signature,
)
from holdfast.testing.scene import ACCESS, NOW_MS, REGION, SECRET

DAY_MS = 86_400_000
HOST = "s3.example.net"
STREAM = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"
_TRAILER = "x-amz-checksum-crc32"


class Ask(NamedTuple):
    """What is asked for, before it is signed."""

    method: str
    path: str
    query: tuple[tuple[str, str], ...] = ()
    headers: Mapping[str, str] = {}
    body: bytes = b""


class Terms(NamedTuple):
    """What a signature is made of."""

    access: str = ACCESS
    secret: str = SECRET
    region: str = REGION
    service: str = "s3"
    terminal: str = "aws4_request"
    algorithm: str = ALGORITHM
    at_ms: int = NOW_MS
    day: str = ""
    """Of the scope; empty: that of the date."""
    payload: str | None = None
    """None: the digest of the body."""
    unlisted: tuple[str, ...] = ()
    """Headers that are sent and not signed."""
    without: tuple[str, ...] = ()
    """Headers that are not there at all."""
    expires: str = "60"
    token: str = ""

    @property
    def date(self) -> str:
        return amz_date(self.at_ms)

    @property
    def scope(self) -> str:
        return f"{self.day or self.date[:8]}/{self.region}/{self.service}/{self.terminal}"

    @property
    def key(self) -> bytes:
        return signing_key(self.secret, self.day or self.date[:8], self.region, self.service)


class Sent(NamedTuple):
    """A request as it goes out."""

    method: str
    path: str
    query: str
    headers: tuple[tuple[str, str], ...]
    body: bytes
    proof: str
    terms: Terms

    def header(self, name: str, value: str) -> "Sent":
        """With this value instead, or with it beside the others when it was not there."""
        rest = tuple(pair for pair in self.headers if pair[0] != name)
        return self._replace(headers=(*rest, (name, value)))

    def added(self, name: str, value: str) -> "Sent":
        return self._replace(headers=(*self.headers, (name, value)))

    def value(self, name: str) -> str:
        return dict(self.headers)[name]

    def asked(self, *pairs: str) -> "Sent":
        """With more in its query."""
        return self._replace(query="&".join([*filter(None, [self.query]), *pairs]))

    @property
    def bytes(self) -> bytes:
        target = self.path + (f"?{self.query}" if self.query else "")
        headers = self.headers
        if self.body or self.method in ("PUT", "POST"):
            headers = (*headers, ("content-length", str(len(self.body))))
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers)
        return f"{self.method} {target} HTTP/1.1\r\n{lines}\r\n".encode() + self.body


def by_header(ask: Ask, terms: Terms | None = None) -> Sent:
    """Signed in its Authorization header."""
    terms = terms or Terms()
    payload = hashlib.sha256(ask.body).hexdigest() if terms.payload is None else terms.payload
    headers = {"host": HOST, **ask.headers, "x-amz-date": terms.date, "x-amz-content-sha256": payload}
    if terms.token:
        headers["x-amz-security-token"] = terms.token
    headers = {name: value for name, value in headers.items() if name not in terms.without}
    names = sorted(name for name in headers if name not in terms.unlisted)
    query = canonical_query(ask.query)
    proof = _proof(ask, terms, query, names, headers, payload)
    authorization = (
        f"{terms.algorithm} Credential={terms.access}/{terms.scope}, SignedHeaders={';'.join(names)}, Signature={proof}"
    )
    sent = (*headers.items(), ("authorization", authorization))
    return Sent(ask.method, encode_path(ask.path), query, sent, ask.body, proof, terms)


def by_query(ask: Ask, terms: Terms | None = None) -> Sent:
    """Presigned."""
    terms = terms or Terms()
    headers = {"host": HOST, **ask.headers}
    names = sorted(name for name in headers if name not in terms.unlisted)
    query = canonical_query(
        [
            *ask.query,
            ("X-Amz-Algorithm", terms.algorithm),
            ("X-Amz-Credential", f"{terms.access}/{terms.scope}"),
            ("X-Amz-Date", terms.date),
            ("X-Amz-Expires", terms.expires),
            ("X-Amz-SignedHeaders", ";".join(names)),
        ]
    )
    proof = _proof(ask, terms, query, names, headers, UNSIGNED_PAYLOAD)
    query = f"{query}&X-Amz-Signature={proof}"
    return Sent(ask.method, encode_path(ask.path), query, tuple(headers.items()), ask.body, proof, terms)


def _proof(ask: Ask, terms: Terms, query: str, names: list[str], headers: Mapping[str, str], payload: str) -> str:
    lines = canonical_headers(names, headers)
    canonical = f"{ask.method}\n{encode_path(ask.path)}\n{query}\n{lines}\n{';'.join(names)}\n{payload}"
    return signature(terms.key, string_to_sign(terms.date, terms.scope, canonical))


def by_chunks(ask: Ask, *, trailer: bool = False, broken: str = "") -> Sent:
    """Signed in its header, and each chunk of the body on its own. `broken` is what is wrong: `chunk`, `end`, `trailer`, `swapped`,
    `bare`, `cut`."""
    headers = {**ask.headers, "x-amz-decoded-content-length": str(len(ask.body))}
    if trailer:
        headers["x-amz-trailer"] = _TRAILER
    sent = by_header(ask._replace(headers=headers), Terms(payload=STREAM + "-TRAILER" * trailer))
    half = (len(ask.body) + 1) // 2
    terms, proof = sent.terms, sent.proof
    pieces = []
    for piece in (*filter(None, (ask.body[:half], ask.body[half:])), b""):
        proof = chunk_signature(terms.key, terms.date, terms.scope, proof, hashlib.sha256(piece).hexdigest())
        pieces.append((piece, proof))
    if broken in ("chunk", "end"):
        at = 0 if broken == "chunk" else -1
        pieces[at] = (pieces[at][0], "0" * 64)
    if broken == "swapped":
        pieces[:2] = [(pieces[0][0][::-1] + b"x", pieces[0][1]), (pieces[1][0][1:], pieces[1][1])]
    framed = b""
    for piece, mark in pieces:
        told = b"" if broken == "bare" else b";chunk-signature=" + mark.encode()
        framed += b"%x%b\r\n%b" % (len(piece), told, piece) + b"\r\n" * bool(piece)
    if trailer:
        value = checksum_text(Algorithm.CRC32, ask.body)
        mark = trailer_signature(terms.key, terms.date, terms.scope, proof, [(_TRAILER, value)])
        mark = "0" * 64 if broken == "trailer" else mark
        framed += f"{_TRAILER}:{value}\r\nx-amz-trailer-signature:{mark}\r\n".encode()
    framed += b"\r\n"
    return sent._replace(body=framed[: -len(framed) // 2] if broken == "cut" else framed)
