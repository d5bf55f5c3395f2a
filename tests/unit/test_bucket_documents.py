"""The documents of a bucket's settings: what is accepted comes back, what means nothing is refused with S3's code."""

import pytest

from holdfast.errors import S3Error
from holdfast.s3.cors import Cors, CorsRule, Sharing, share
from holdfast.s3.logging import DELIVERY_TIME, EVENT_TIME, SIMPLE, Logging
from holdfast.s3.notification import Notification, Route
from holdfast.s3.website import Redirect, RoutingRule, Website, document_key, location, rule_for
from holdfast.wire.documents import DOCUMENTS
from holdfast.wire.documents.tagging import read_header
from holdfast.xml import document, parse_xml


def read(name: str, content: str) -> object:
    row = DOCUMENTS[name]
    return row.read(parse_xml(document(row.root, content), row.root))


def code(name: str, content: str) -> str:
    try:
        read(name, content)
    except S3Error as refusal:
        return refusal.code
    return "ok"


RULE = "<CORSRule><AllowedOrigin>{origin}</AllowedOrigin><AllowedMethod>{method}</AllowedMethod>{more}</CORSRule>"
QUEUE = "<QueueConfiguration>{id}<Queue>{arn}</Queue><Event>{event}</Event>{filter}</QueueConfiguration>"
ARN = "arn:aws:sqs:us-east-1:1:q"
FILTER = "<Filter><S3Key>{}</S3Key></Filter>"
PART = "<FilterRule><Name>{}</Name><Value>{}</Value></FilterRule>"
ROUTES = "<IndexDocument><Suffix>i</Suffix></IndexDocument><RoutingRules><RoutingRule>{}</RoutingRule></RoutingRules>"


def rule(origin: str = "*", method: str = "GET", more: str = "") -> str:
    return RULE.format(origin=origin, method=method, more=more)


def queue(identifier: str = "", event: str = "s3:ObjectCreated:*", rules: str = "", arn: str = ARN) -> str:
    given = f"<Id>{identifier}</Id>" if identifier else ""
    return QUEUE.format(id=given, arn=arn, event=event, filter=FILTER.format(rules) if rules else "")


def log(more: str = "") -> str:
    return f"<LoggingEnabled><TargetBucket>t</TargetBucket><TargetPrefix>p/</TargetPrefix>{more}</LoggingEnabled>"


def keyed(form: str) -> str:
    return f"<TargetObjectKeyFormat>{form}</TargetObjectKeyFormat>"


ACCEPTED: list[tuple[str, str, object]] = [
    ("logging", "", Logging()),
    ("logging", log(), Logging("t", "p/")),
    ("logging", log(keyed("<SimplePrefix/>")), Logging("t", "p/", SIMPLE, True)),
    ("logging", log(keyed("<PartitionedPrefix/>")), Logging("t", "p/", DELIVERY_TIME, True)),
    (
        "logging",
        log(keyed("<PartitionedPrefix><PartitionDateSource>EventTime</PartitionDateSource></PartitionedPrefix>")),
        Logging("t", "p/", EVENT_TIME, True),
    ),
    ("notification", "", Notification()),
    (
        "notification",
        queue("a", rules=PART.format("Prefix", "in/") + PART.format("suffix", ".jpg")),
        Notification((Route("a", "Queue", ARN, ("s3:ObjectCreated:*",), "in/", ".jpg"),)),
    ),
    (
        "cors",
        rule("https://*.a", "PUT", "<AllowedHeader>X-*</AllowedHeader><MaxAgeSeconds>5</MaxAgeSeconds><ID>i</ID>"),
        Cors((CorsRule("i", ("https://*.a",), ("PUT",), ("x-*",), (), 5),)),
    ),
    (
        "website",
        "<RedirectAllRequestsTo><HostName>h</HostName><Protocol>https</Protocol></RedirectAllRequestsTo>",
        Website(elsewhere=Redirect("h", "https")),
    ),
    (
        "website",
        ROUTES.format(
            "<Condition><KeyPrefixEquals>a/</KeyPrefixEquals><HttpErrorCodeReturnedEquals>404</HttpErrorCodeReturnedEquals>"
            "</Condition><Redirect><HttpRedirectCode>307</HttpRedirectCode><ReplaceKeyPrefixWith>b/</ReplaceKeyPrefixWith></Redirect>"
        ),
        Website("i", "", (RoutingRule(Redirect("", "", 307, True, "b/"), "a/", 404),)),
    ),
]


@pytest.mark.parametrize(("name", "content", "value"), ACCEPTED)
def test_what_is_accepted_comes_back(name: str, content: str, value: object) -> None:
    assert read(name, content) == value
    assert read(name, DOCUMENTS[name].write(value)) == value


REFUSED = [
    ("logging", "<LoggingEnabled/>", "MalformedXML"),
    ("logging", "<LoggingEnabled><TargetBucket>t</TargetBucket></LoggingEnabled>", "MalformedXML"),
    ("logging", log(keyed("")), "MalformedXML"),
    ("logging", log("<TargetGrants><Grant/></TargetGrants>"), "NotImplemented"),
    ("notification", queue(event="s3:Nothing"), "InvalidArgument"),
    ("notification", queue(arn="queue"), "InvalidArgument"),
    ("notification", queue("a") + queue("b"), "InvalidArgument"),
    ("notification", queue("a") + queue("a", event="s3:ObjectRemoved:*"), "InvalidArgument"),
    ("notification", queue("a", event="s3:ObjectCreated:Put") + queue("b"), "InvalidArgument"),
    ("notification", queue(rules=PART.format("infix", "x")), "InvalidArgument"),
    ("notification", queue(rules=PART.format("prefix", "x") * 2), "InvalidArgument"),
    ("notification", f"<QueueConfiguration><Queue>{ARN}</Queue></QueueConfiguration>", "MalformedXML"),
    ("notification", "<EventBridgeConfiguration/>", "NotImplemented"),
    ("cors", "", "MalformedXML"),
    ("cors", rule() * 101, "InvalidRequest"),
    ("cors", rule(method=""), "InvalidRequest"),
    ("cors", rule(more="<AllowedHeader>a b</AllowedHeader>"), "InvalidRequest"),
    ("cors", rule(more="<MaxAgeSeconds>soon</MaxAgeSeconds>"), "MalformedXML"),
    ("cors", rule(origin="a&#10;b"), "MalformedXML"),
    ("requestPayment", "<Payer>Nobody</Payer>", "MalformedXML"),
    ("website", "", "InvalidArgument"),
    ("website", "<IndexDocument><Suffix>a/b</Suffix></IndexDocument>", "InvalidArgument"),
    ("website", "<RedirectAllRequestsTo/>", "MalformedXML"),
    ("website", ROUTES.format("<Redirect/>"), "MalformedXML"),
    ("website", ROUTES.format("<Condition/><Redirect><HostName>h</HostName></Redirect>"), "MalformedXML"),
    (
        "website",
        "<RedirectAllRequestsTo><HostName>h</HostName></RedirectAllRequestsTo><ErrorDocument/>",
        "MalformedXML",
    ),
    ("website", ROUTES.format("<Redirect><HttpRedirectCode>3xx</HttpRedirectCode></Redirect>"), "MalformedXML"),
    ("website", ROUTES.format("<Redirect><HttpRedirectCode>306</HttpRedirectCode></Redirect>"), "InvalidRequest"),
    ("website", ROUTES.format("<Redirect><HttpRedirectCode>200</HttpRedirectCode></Redirect>"), "InvalidRequest"),
    ("website", ROUTES.format("<Redirect><Protocol>ftp</Protocol></Redirect>"), "InvalidRequest"),
    ("website", ROUTES.format("<Redirect><HostName>h&#13;&#10;x</HostName></Redirect>"), "InvalidArgument"),
    (
        "website",
        ROUTES.format(
            "<Redirect><ReplaceKeyWith>a</ReplaceKeyWith><ReplaceKeyPrefixWith>b</ReplaceKeyPrefixWith></Redirect>"
        ),
        "InvalidRequest",
    ),
    ("tagging", "", "MalformedXML"),
    ("tagging", "<TagSet><Tag><Key>a</Key></Tag></TagSet>", "MalformedXML"),
]


@pytest.mark.parametrize(("name", "content", "wanted"), REFUSED)
def test_what_means_nothing_is_refused(name: str, content: str, wanted: str) -> None:
    assert code(name, content) == wanted


def test_rules_that_cannot_meet_are_no_overlap() -> None:
    pairs = [
        (queue("a", rules=PART.format("prefix", "a/")), queue("b", rules=PART.format("prefix", "b/"))),
        (queue("a", rules=PART.format("suffix", ".a")), queue("b", rules=PART.format("suffix", ".b"))),
        (queue("a", event="s3:ObjectCreated:Put"), queue("b", event="s3:ObjectCreated:Post")),
    ]
    for one, other in pairs:
        found = read("notification", one + other)
        assert isinstance(found, Notification)
        assert len(found.routes) == 2
    assert code("notification", pairs[0][0] + queue("b", rules=PART.format("prefix", "a/b"))) == "InvalidArgument"


def test_a_route_matches_by_event_prefix_and_suffix() -> None:
    route = Route("r", "Queue", ARN, ("s3:ObjectCreated:*", "s3:ObjectRemoved:Delete"), "in/", ".jpg")
    assert route.matches("s3:ObjectCreated:Put", "in/a.jpg")
    assert route.matches("s3:ObjectRemoved:Delete", "in/.jpg")
    assert not route.matches("s3:ObjectRemoved:DeleteMarkerCreated", "in/a.jpg")
    assert not route.matches("s3:ObjectCreated:Put", "out/a.jpg")
    assert not route.matches("s3:ObjectCreated:Put", "in/a.png")


def test_a_rule_without_an_id_gets_one_that_stays() -> None:
    one, again = read("notification", queue()), read("notification", queue())
    assert isinstance(one, Notification)
    assert one == again
    assert one.routes[0].id


def test_the_first_rule_that_allows_a_page_is_told() -> None:
    narrow = CorsRule("", ("https://a", "b*c"), ("GET",), ("x-*",))
    wide = CorsRule("", ("*",), ("GET", "PUT"))
    cors = Cors((narrow, wide))
    assert share(cors, "https://a", "GET", ["x-y"]) == Sharing(narrow, "https://a", ("x-y",))
    assert share(cors, "bc", "GET") == Sharing(narrow, "bc")
    assert share(cors, "bcd", "GET") == Sharing(wide, "*")
    assert share(cors, "https://a", "PUT") == Sharing(wide, "*")
    assert share(cors, "https://a", "GET", ["y"]) is None
    assert share(Cors((narrow,)), "b", "GET") is None


def test_paths_of_a_site() -> None:
    site = Website("i.html", "", (RoutingRule(Redirect("h"), "a/"), RoutingRule(Redirect(key="gone"), "", 404)))
    assert [document_key(site, key) for key in ("", "a/", "a")] == ["i.html", "a/i.html", "a"]
    found = rule_for(site, "a/b")
    assert found is not None
    assert found.redirect.host == "h"
    assert rule_for(site, "b") is None
    assert rule_for(site, "b", 404) is site.rules[1]
    assert location(Redirect(prefix="c/"), "a/", "a/b", host="h", protocol="http") == ("http", "h", "c/b")
    assert location(Redirect("x", "https", key="k"), "", "a", host="h", protocol="http") == ("https", "x", "k")


@pytest.mark.parametrize(
    ("text", "tags"),
    [
        ("", {}),
        ("a=1&b", {"a": "1", "b": ""}),
        ("a%20b=c+d", {"a b": "c d"}),
        ("a=b=c", {"a": "b=c"}),
        ("&a=1&", {"a": "1"}),
    ],
)
def test_tags_of_a_header(text: str, tags: dict[str, str]) -> None:
    assert read_header(text) == tags


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("a=1&a=2", "InvalidArgument"),
        ("%ff=1", "InvalidArgument"),
        ("=1", "InvalidTag"),
        ("AWS:a=1", "InvalidTag"),
        ("a=%00", "InvalidTag"),
    ],
)
def test_wrong_tags_of_a_header(text: str, wanted: str) -> None:
    with pytest.raises(S3Error, match=wanted):
        read_header(text)
