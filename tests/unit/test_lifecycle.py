"""Lifecycle configurations: what is accepted, what is refused with which code, and when a rule is due."""

from datetime import UTC, datetime

import pytest

from holdfast.errors import S3Error
from holdfast.s3.expiry import DAY_MS, abort_due, current_due, marker_due, midnight_after, noncurrent_due, prefixes
from holdfast.s3.lifecycle import Due, Filter, Lifecycle, Rule
from holdfast.s3.settings import PutSetting
from holdfast.wire.documents.lifecycle import read, write
from holdfast.wire.parse_settings import fill, put
from holdfast.xml import document, parse_xml
from tests.unit.loopback import make

ROOT = "LifecycleConfiguration"
DAYS = "<Expiration><Days>3</Days></Expiration>"


def at(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000)


def rule(inner: str, *, where: str = "<Filter/>", name: str = "<ID>r</ID>", status: str = "Enabled") -> str:
    return f"<Rule>{name}{where}<Status>{status}</Status>{inner}</Rule>"


def parsed(content: str) -> Lifecycle:
    return read(parse_xml(document(ROOT, content), ROOT))


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (rule(DAYS), Rule("r", days=3)),
        (rule(DAYS, where="<Prefix/>"), Rule("r", filter=Filter(""), form="Prefix", days=3)),
        (rule(DAYS, where="<Prefix>a&amp;b/</Prefix>"), Rule("r", filter=Filter("a&b/"), form="Prefix", days=3)),
        (rule(DAYS, where="<Filter><Prefix>a</Prefix></Filter>"), Rule("r", filter=Filter("a"), days=3)),
        (
            rule(DAYS, where="<Filter><Tag><Key>k</Key><Value/></Tag></Filter>", status="Disabled"),
            Rule("r", enabled=False, filter=Filter(tags={"k": ""}), days=3),
        ),
        (
            rule(
                DAYS,
                where="<Filter><And><Prefix>p</Prefix><Tag><Key>k</Key><Value>v</Value></Tag>"
                "<ObjectSizeGreaterThan>0</ObjectSizeGreaterThan><ObjectSizeLessThan>9</ObjectSizeLessThan></And></Filter>",
            ),
            Rule("r", filter=Filter("p", {"k": "v"}, 0, 9), form="And", days=3),
        ),
        (
            rule("<Expiration><Date>2030-01-02T00:00:00.000Z</Date></Expiration>"),
            Rule("r", date_ms=at("2030-01-02")),
        ),
        (rule("<Expiration><Date>2030-01-02</Date></Expiration>"), Rule("r", date_ms=at("2030-01-02"))),
        (
            rule("<Expiration><Date>2030-01-02T02:00:00+02:00</Date></Expiration>"),
            Rule("r", date_ms=at("2030-01-02")),
        ),
        (
            rule("<Expiration><ExpiredObjectDeleteMarker>true</ExpiredObjectDeleteMarker></Expiration>"),
            Rule("r", markers=True),
        ),
        (
            rule(
                "<NoncurrentVersionExpiration><NoncurrentDays>2</NoncurrentDays>"
                "<NewerNoncurrentVersions>4</NewerNoncurrentVersions></NoncurrentVersionExpiration>"
                "<AbortIncompleteMultipartUpload><DaysAfterInitiation>5</DaysAfterInitiation></AbortIncompleteMultipartUpload>"
            ),
            Rule("r", noncurrent_days=2, newer=4, abort_days=5),
        ),
    ],
)
def test_what_is_accepted_is_given_back_as_it_was_written(content: str, found: Rule) -> None:
    value = parsed(content)
    assert value == Lifecycle((found,))
    assert parsed(write(value)) == value
    assert ("<And>" in content, "<Filter" in content) == ("<And>" in write(value), "<Filter" in write(value))


_ABORT = "<AbortIncompleteMultipartUpload><DaysAfterInitiation>1</DaysAfterInitiation></AbortIncompleteMultipartUpload>"
_TAG = "<Tag><Key>k</Key><Value>v</Value></Tag>"
_MARKER = "<Expiration><ExpiredObjectDeleteMarker>true</ExpiredObjectDeleteMarker></Expiration>"


@pytest.mark.parametrize(
    ("content", "code"),
    [
        ("", "MalformedXML"),
        (rule(DAYS, status="enabled"), "MalformedXML"),
        (rule(DAYS, where=""), "MalformedXML"),
        (rule(DAYS, where="<Prefix>a</Prefix><Filter/>"), "MalformedXML"),
        (rule(DAYS, where="<Filter><And/></Filter>"), "MalformedXML"),
        (rule(DAYS, where=f"<Filter><Prefix>a</Prefix><And>{_TAG}</And></Filter>"), "MalformedXML"),
        (rule(DAYS, where=f"<Filter><And>{_TAG}{_TAG}</And></Filter>"), "InvalidRequest"),
        (rule(DAYS, where="<Filter><Tag><Key>k</Key></Tag></Filter>"), "MalformedXML"),
        (
            rule(
                DAYS,
                where="<Filter><And><ObjectSizeGreaterThan>5</ObjectSizeGreaterThan><ObjectSizeLessThan>5</ObjectSizeLessThan>"
                "</And></Filter>",
            ),
            "InvalidRequest",
        ),
        (rule(DAYS, name=f"<ID>{'i' * 256}</ID>"), "InvalidArgument"),
        (rule(DAYS) + rule(DAYS), "InvalidArgument"),
        (rule(""), "InvalidRequest"),
        (rule("<Expiration/>"), "MalformedXML"),
        (rule("<Expiration><Days>1</Days><Date>2030-01-01</Date></Expiration>"), "MalformedXML"),
        (rule("<Expiration><Days>0</Days></Expiration>"), "InvalidArgument"),
        (rule("<Expiration><Days>-1</Days></Expiration>"), "InvalidArgument"),
        (rule("<Expiration><Days>2147483648</Days></Expiration>"), "InvalidArgument"),
        (rule("<Expiration><Date>soon</Date></Expiration>"), "MalformedXML"),
        (rule("<Expiration><Date>2030-01-01T12:00:00Z</Date></Expiration>"), "InvalidArgument"),
        (rule(_MARKER, where=f"<Filter>{_TAG}</Filter>"), "InvalidRequest"),
        (rule("<NoncurrentVersionExpiration/>"), "MalformedXML"),
        (
            rule(
                "<NoncurrentVersionExpiration><NoncurrentDays>1</NoncurrentDays>"
                "<NewerNoncurrentVersions>101</NewerNoncurrentVersions></NoncurrentVersionExpiration>"
            ),
            "InvalidArgument",
        ),
        (rule(_ABORT, where=f"<Filter>{_TAG}</Filter>"), "InvalidRequest"),
        (
            rule("<Transition><Days>1</Days><StorageClass>GLACIER</StorageClass></Transition>"),
            "NotImplemented",
        ),
        (
            rule("<Transition><Date>2022-09-27T01:00:00Z</Date><StorageClass>GLACIER</StorageClass></Transition>"),
            "InvalidArgument",
        ),
        (rule("<Transition><Days>1</Days><StorageClass>COLD</StorageClass></Transition>"), "MalformedXML"),
        ("".join(rule(DAYS, name=f"<ID>{n}</ID>") for n in range(1001)), "MalformedXML"),
    ],
)
def test_what_cannot_be_meant_is_refused_with_its_code(content: str, code: str) -> None:
    with pytest.raises(S3Error) as caught:
        parsed(content)
    assert caught.value.code == code


def test_rules_without_ids_get_different_ones() -> None:
    value = parsed(rule(DAYS, name="") + rule(DAYS, name=""))
    assert all(rule.id for rule in value.rules)
    assert len({rule.id for rule in value.rules}) == 2


@pytest.mark.parametrize(("said", "kept"), [(None, "all_storage_classes_128K"), ("varies_by_storage_class",) * 2])
def test_the_smallest_size_of_transitions_stands_beside_the_document(said: str | None, kept: str) -> None:
    name = "x-amz-transition-default-minimum-object-size"
    ask = put("lifecycle")(make("PUT", "/photos?lifecycle", {} if said is None else {name: said}))
    filled = fill(ask, document(ROOT, rule(DAYS)))
    assert isinstance(filled, PutSetting)
    assert filled.value == Lifecycle((Rule("r", days=3),), kept)


def test_a_wrong_smallest_size_is_refused() -> None:
    with pytest.raises(S3Error, match="must be one of"):
        put("lifecycle")(make("PUT", "/photos?lifecycle", {"x-amz-transition-default-minimum-object-size": "1"}))


# --- when ---


@pytest.mark.parametrize(
    ("made", "days", "due"),
    [
        ("2014-01-15T10:30", 3, "2014-01-19"),  # The example of the User Guide.
        ("2024-02-28T23:59:59", 1, "2024-03-01"),
        ("2024-01-01T00:00", 1, "2024-01-03"),
    ],
)
def test_days_end_at_the_midnight_that_follows(made: str, days: int, due: str) -> None:
    assert midnight_after(at(made), days, DAY_MS) == at(due)


def test_a_day_may_be_short_for_tests() -> None:
    assert midnight_after(123_456, 2, 10_000) == 150_000


MADE = at("2024-01-01T10:00")
TWO = Rule("two", days=2)
TAGGED = Rule("tagged", filter=Filter("logs/", {"kind": "temp"}), days=1)
SIZED = Rule("sized", filter=Filter(above=10, below=100), days=1)


@pytest.mark.parametrize(
    ("rules", "key", "size", "tags", "due"),
    [
        ((TWO,), "a", 1, {}, Due(at("2024-01-04"), "two")),
        ((TWO, TAGGED), "logs/a", 1, {"kind": "temp", "more": "1"}, Due(at("2024-01-03"), "tagged")),
        ((TWO, TAGGED), "logs/a", 1, {"kind": "kept"}, Due(at("2024-01-04"), "two")),
        ((TAGGED,), "log", 1, {"kind": "temp"}, None),
        ((SIZED,), "a", 10, {}, None),
        ((SIZED,), "a", 11, {}, Due(at("2024-01-03"), "sized")),
        ((SIZED,), "a", 100, {}, None),
        ((Rule("off", enabled=False, days=1),), "a", 1, {}, None),
        ((Rule("dated", date_ms=at("2020-01-01")), TWO), "a", 1, {}, Due(at("2020-01-01"), "dated")),
        ((Rule("other", noncurrent_days=1, abort_days=1, markers=True),), "a", 1, {}, None),
    ],
)
def test_the_earliest_rule_that_applies_is_due(
    rules: tuple[Rule, ...], key: str, size: int, tags: dict[str, str], due: Due | None
) -> None:
    assert current_due(Lifecycle(rules), key, size, tags, MADE) == due


def test_a_lonely_delete_marker_goes_at_once_or_with_its_age() -> None:
    assert marker_due(Lifecycle((Rule("m", markers=True), TWO)), "a", MADE) == Due(MADE, "m")
    assert marker_due(Lifecycle((Rule("m", markers=False), TWO)), "a", MADE) == Due(at("2024-01-04"), "two")
    assert marker_due(Lifecycle((TAGGED, SIZED)), "logs/a", MADE) is None, "it has neither tags nor a size"


def test_replaced_versions_count_from_when_they_were_replaced_and_some_are_kept() -> None:
    rules = Lifecycle((Rule("n", noncurrent_days=1, newer=2),))
    assert noncurrent_due(rules, "a", 1, {}, MADE, 1) is None
    assert noncurrent_due(rules, "a", 1, {}, MADE, 2) == Due(at("2024-01-03"), "n")


def test_uploads_count_from_their_beginning() -> None:
    rules = Lifecycle((Rule("u", filter=Filter("x"), abort_days=7), TWO))
    assert abort_due(rules, "xy", MADE) == Due(at("2024-01-09"), "u")
    assert abort_due(rules, "y", MADE) is None


def test_walks_go_only_where_rules_are() -> None:
    rules = [Rule(str(n), filter=Filter(prefix), days=1) for n, prefix in enumerate(("b", "a/x", "a/", "ba", None))]
    assert prefixes(rules[:4]) == ("a/", "b")
    assert prefixes(rules) == ("",)
