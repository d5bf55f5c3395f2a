"""Requests on the locks of versions, and the headers that lock a version when it is written."""

from collections.abc import Mapping

from holdfast.model import Marks, Retention, replace
from holdfast.s3.locks import COMPLIANCE, GOVERNANCE, GetLegalHold, GetRetention, PutLegalHold, PutRetention
from holdfast.wire.conditions import parse_iso_date
from holdfast.wire.documents.lock import read_hold, read_retention
from holdfast.wire.parse import check_headers, expected_of_xml, headers_of, invalid, verify, version_id
from holdfast.wire.request import Request
from holdfast.xml import parse_xml

MODE = "x-amz-object-lock-mode"
UNTIL = "x-amz-object-lock-retain-until-date"
HOLD = "x-amz-object-lock-legal-hold"
_NAMES = (MODE, UNTIL, HOLD)
BYPASS = "x-amz-bypass-governance-retention"


def with_locks(marks: Marks, headers: Mapping[str, str]) -> Marks:
    """The marks with the locks that the headers ask for. Raises InvalidArgument."""
    if headers.keys().isdisjoint(_NAMES):
        return marks
    mode, text, hold = (headers.get(name) for name in _NAMES)
    if (mode is None) != (text is None):
        raise invalid(
            MODE if mode is None else UNTIL,
            "",
            f"{UNTIL} and {MODE} must both be supplied",
        )
    if mode is not None and text is not None:
        until_ms = parse_iso_date(text)
        if mode not in (GOVERNANCE, COMPLIANCE):
            raise invalid(MODE, mode, "Unknown wormMode directive.")
        if until_ms is None:
            raise invalid(UNTIL, text, "The retain until date must be provided in ISO 8601 format")
        marks = replace(marks, retention=Retention(mode, until_ms))
    if hold is not None:
        if hold not in ("ON", "OFF"):
            raise invalid(HOLD, hold, "Legal Hold must be either of 'ON' or 'OFF'")
        marks = replace(marks, hold=hold == "ON")
    return marks


def bypasses(headers: Mapping[str, str]) -> bool:
    """Whether a GOVERNANCE retention is to be passed over."""
    return headers.get(BYPASS, "").lower() == "true"


def get_retention(request: Request) -> GetRetention:
    return GetRetention(request.bucket, request.key, version_id(request.query))


def put_retention(request: Request) -> PutRetention:
    headers = headers_of(request)
    check_headers(headers)
    return PutRetention(
        request.bucket,
        request.key,
        version_id(request.query),
        bypass=bypasses(headers),
        expected=expected_of_xml(headers),
    )


def fill_retention(ask: PutRetention, body: bytes) -> PutRetention:
    verify(ask.expected, body)
    return replace(ask, retention=read_retention(parse_xml(body, "Retention")))


def get_legal_hold(request: Request) -> GetLegalHold:
    return GetLegalHold(request.bucket, request.key, version_id(request.query))


def put_legal_hold(request: Request) -> PutLegalHold:
    headers = headers_of(request)
    check_headers(headers)
    return PutLegalHold(request.bucket, request.key, version_id(request.query), expected=expected_of_xml(headers))


def fill_legal_hold(ask: PutLegalHold, body: bytes) -> PutLegalHold:
    verify(ask.expected, body)
    return replace(ask, on=read_hold(parse_xml(body, "LegalHold")))
