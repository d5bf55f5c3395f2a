"""Requests for a bucket's sub-resources, all by the same three parsers, and their replies by the rows of `documents`."""

from collections.abc import Callable, Mapping

from holdfast.errors import S3Error
from holdfast.model import replace, unpack
from holdfast.s3.settings import DeleteSetting, GetSetting, PutSetting, SettingGot
from holdfast.wire.documents import DOCUMENTS
from holdfast.wire.parse import check_headers, expected_of_xml, headers_of, invalid, verify
from holdfast.wire.request import Request
from holdfast.xml import document, parse_xml


def get(name: str) -> Callable[[Request], GetSetting]:
    def parse(request: Request) -> GetSetting:
        return GetSetting(request.bucket, name)

    return parse


def put(name: str) -> Callable[[Request], PutSetting]:
    def parse(request: Request) -> PutSetting:
        headers = headers_of(request)
        check_headers(headers)
        return PutSetting(request.bucket, name, expected=expected_of_xml(headers), beside=_beside(name, headers))

    return parse


def _beside(name: str, headers: Mapping[str, str]) -> str:
    beside = DOCUMENTS[name].beside
    if beside is None:
        return ""
    text = headers.get(beside.header, "") or beside.values[0]
    if text not in beside.values:
        raise invalid(beside.header, text, f"The value must be one of {', '.join(beside.values)}.")
    return text


def fill(ask: PutSetting, body: bytes) -> PutSetting:
    """The request with the value that its body says, which must be what the headers said of it."""
    verify(ask.expected, body)
    row = DOCUMENTS[ask.name]
    if len(body) > row.most_bytes:
        raise S3Error("MaxMessageLengthExceeded", fields={"MaxMessageLengthBytes": str(row.most_bytes)})
    value = row.read(parse_xml(body, row.root) if row.root else body)
    if row.beside is not None:
        value = replace(value, **{row.beside.field: ask.beside})
    return PutSetting(ask.bucket, ask.name, value, ask.expected, ask.beside)


def delete(name: str) -> Callable[[Request], DeleteSetting]:
    def parse(request: Request) -> DeleteSetting:
        return DeleteSetting(request.bucket, name)

    return parse


def body_of(got: SettingGot) -> tuple[bytes, list[tuple[str, str]]]:
    """The document of a setting, and the headers that stand beside it. Raises the S3Error that says that there is none."""
    row = DOCUMENTS[got.name]
    if got.data is None and row.missing:
        raise S3Error(row.missing, fields={"BucketName": got.bucket})
    value = row.default if got.data is None else unpack(got.data, row.kind)
    text = row.write(value)
    headers = [] if row.beside is None else [(row.beside.header, getattr(value, row.beside.field))]
    return (document(row.root, text) if row.root else text.encode()), headers
