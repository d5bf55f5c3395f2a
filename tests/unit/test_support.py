"""docs/S3.md is what the code does: whatever a request is read for has a row, and no row speaks of what nobody knows."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from botocore.loaders import Loader

from holdfast.errors import S3Error
from holdfast.wire.operations import OPERATIONS, Scope, supported
from holdfast.wire.parse import check_header
from holdfast.wire.support import HEADERS, HOW, PARAMETERS, REMARKS, Field, Level, how_of, knows, level_of, markdown
from tests.unit.loopback import make

ROOT = Path(__file__).parents[2]
WIRE = ROOT / "src" / "holdfast" / "wire"
MODEL = Loader().load_service_model("s3", "service-2")
REPLIES = {
    "x-amz-abort-date",
    "x-amz-abort-rule-id",
    "x-amz-bucket-region",
    "x-amz-copy-source-version-id",
    "x-amz-delete-marker",
    "x-amz-error-code",
    "x-amz-error-message",
    "x-amz-expiration",
    "x-amz-mp-parts-count",
    "x-amz-tagging-count",
    "x-amz-version-id",
}
"""Names in the code that are headers of replies only."""
FORMS = {"x-amz-algorithm", "x-amz-credential", "x-amz-signature"}
"""Fields of upload forms only."""
PREFIXES = {"x-amz-copy-source-server-side-encryption"}
"""What more than one header begins with, and none is called."""
READERS = re.compile(r"(request\.)?(headers|query)\.get|number|page_limit")
"""Calls that take a value by its name."""


def modules() -> list[Path]:
    return [path for path in sorted(WIRE.rglob("*.py")) if path.name != "support.py"]


def named() -> Iterator[tuple[str, str]]:
    """Every name that the code takes out of `headers` or `query`, and every name of an `x-amz-` header."""
    for path in modules():
        for node in ast.walk(ast.parse(path.read_text())):
            match node:
                case ast.Constant(value=str(text)) if re.fullmatch(r"x-amz-[a-z0-9-]*[a-z0-9]", text):
                    yield "headers", text
                case ast.Call(args=[ast.Constant(value=str(text)), *_]) if READERS.fullmatch(ast.unparse(node.func)):
                    yield _source(node.func), text
                case ast.Call(args=[source, ast.Constant(value=str(text)), *_]) if READERS.fullmatch(
                    ast.unparse(node.func)
                ):
                    yield _source(source), text
                case ast.Subscript(slice=ast.Constant(value=str(text))) if _source(node.value):
                    yield _source(node.value), text
                case ast.Compare(left=ast.Constant(value=str(text)), comparators=[source, *_]) if _source(source):
                    yield _source(source), text


def _source(node: ast.expr) -> str:
    """Where a value is taken from: headers, query, or neither."""
    found = re.fullmatch(r"(?:request\.)?(headers|query)(?:\.get)?", ast.unparse(node))
    return "" if found is None else found[1]


def test_every_name_that_the_code_reads_has_a_row() -> None:
    found = set(named())
    assert {"content-md5", "x-amz-copy-source"} <= {name for source, name in found if source == "headers"}
    assert {"max-keys", "list-type", "versionId", "uploadId"} <= {name for source, name in found if source == "query"}
    missing = {
        (source, name)
        for source, name in found
        if source
        and not knows(HEADERS if source == "headers" else PARAMETERS, name)
        and name not in REPLIES | FORMS | PREFIXES
    }
    assert missing == set()


def test_every_input_of_the_service_model_has_a_row() -> None:
    missing = set()
    for operation in MODEL["operations"].values():
        shape = MODEL["shapes"][operation["input"]["shape"]] if "input" in operation else {"members": {}}
        for member in shape["members"].values():
            name, place = member.get("locationName", ""), member.get("location")
            if place in ("header", "headers") and not knows(HEADERS, name.lower()):
                missing.add(name)
            if place == "querystring" and not knows(PARAMETERS, name):
                missing.add(name)
    assert missing == set()


def test_every_marker_of_an_operation_has_a_row_or_is_an_operation_of_its_own() -> None:
    selectors = {"id", "list-type", "max-directory-buckets", "annotationName", "uploadId"}
    assert all(knows(PARAMETERS, name) for name in selectors)


def test_no_name_has_two_rows_and_no_row_is_stale() -> None:
    for fields in (HEADERS, PARAMETERS):
        names = [field.name for field in fields]
        assert len(set(names)) == len(names)
    assert {*HOW, *REMARKS} <= {row.name for row in OPERATIONS}
    assert not set(HOW) & set(REMARKS)


def test_what_is_said_to_be_there_is_not_refused_and_what_is_refused_is_not_said_to_be_there() -> None:
    for field in HEADERS:
        if field.name.startswith("x-amz-") and field.name != "x-amz-acl":
            try:
                check_header(field.name.rstrip("*"), "x")
            except S3Error as refusal:
                assert refusal.code == "NotImplemented"
                assert level_of(field) is Level.NO, field.name


def test_what_is_said_to_be_refused_is_refused() -> None:
    rows = {row.name: row for row in OPERATIONS}
    paths = {Scope.SERVICE: "/", Scope.BUCKET: "/photos", Scope.OBJECT: "/photos/a"}
    for field in HEADERS:
        row = (
            rows[field.where.split(",")[0]]
            if level_of(field) is Level.NO and how_of(field).endswith("by name")
            else None
        )
        if row is not None and row.parse is not None:
            headers: dict[str, str | bytes] = {row.header: "/photos/b"} if row.header else {}
            with pytest.raises(S3Error) as refused:
                row.parse(make(row.method, paths[row.scope], {**headers, field.name.rstrip("*"): "x"}))
            assert (refused.value.code, field.name) == ("NotImplemented", field.name)


def test_a_row_that_is_refused_by_name_is_no() -> None:
    assert level_of(Field("x-amz-checksum-xxhash3", "")) is Level.NO
    assert level_of(Field("x-amz-tagging", "")) is Level.FULL


@pytest.mark.parametrize("name", ["GetObject", "SelectObjectContent", "GetObjectTorrent", "PutBucketReplication"])
def test_the_document_says_of_an_operation_what_the_table_says(name: str) -> None:
    there = dict(supported())[name]
    line = next(line for line in markdown().splitlines() if line.startswith(f"| {name} |"))
    assert ("| no |" in line) == (not there)


def test_the_document_is_in_step_with_the_code() -> None:
    assert (ROOT / "docs" / "S3.md").read_text() == markdown(), "run: make docs-config"
