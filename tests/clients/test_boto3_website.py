"""boto3 makes a bucket a website; a browser visits it by its own host name."""

from typing import Any

from tests.clients.browser import Browser, Seen
from tests.clients.server import WEBSITES

EVERYTHING = {"RedirectAllRequestsTo": {"HostName": "www.example", "Protocol": "https"}}
RULES = [
    {"Condition": {"KeyPrefixEquals": "old/"}, "Redirect": {"ReplaceKeyPrefixWith": "new/", "HttpRedirectCode": "307"}},
    {"Condition": {"HttpErrorCodeReturnedEquals": "403"}, "Redirect": {"ReplaceKeyWith": "denied <b>"}},
]
SITE: dict[str, Any] = {
    "IndexDocument": {"Suffix": "index.html"},
    "ErrorDocument": {"Key": "error.html"},
    "RoutingRules": RULES,
}


def _visit(browser: Browser, bucket: str, path: str, method: str = "GET") -> Seen:
    return browser.ask(method, path, {"Host": f"{bucket}.{WEBSITES}"})


def _page(seen: Seen) -> bool:
    return seen.headers["content-type"] == "text/html; charset=utf-8" and seen.body.startswith(b"<html>")


def test_a_website_is_kept_as_it_was_set(s3: Any, bucket: str) -> None:
    for configuration in (SITE, EVERYTHING):
        s3.put_bucket_website(Bucket=bucket, WebsiteConfiguration=configuration)
        got = s3.get_bucket_website(Bucket=bucket)
        assert {name: got[name] for name in configuration} == configuration


def test_a_visitor_hears_in_html_what_is_not_there(browser: Browser, bucket: str) -> None:
    seen = _visit(browser, bucket, "/<script>")
    assert (seen.status, seen.headers["x-amz-error-code"]) == (404, "NoSuchWebsiteConfiguration")
    assert _page(seen)
    seen = _visit(browser, "no-such-bucket-anywhere", "/")
    assert (seen.status, seen.headers["x-amz-error-code"]) == (404, "NoSuchBucket")
    assert _page(seen)
    assert _visit(browser, bucket, "/", "HEAD").body == b""


def test_a_visitor_is_sent_elsewhere(browser: Browser, s3: Any, bucket: str) -> None:
    s3.put_bucket_website(Bucket=bucket, WebsiteConfiguration=EVERYTHING)
    seen = _visit(browser, bucket, "/a/b%20c?x=1")
    assert (seen.status, seen.headers["location"]) == (301, "https://www.example/a/b%20c")
    s3.put_bucket_website(Bucket=bucket, WebsiteConfiguration=SITE)
    seen = _visit(browser, bucket, "/old/page")
    assert seen.status == 307
    assert seen.headers["location"].endswith(f"//{bucket}.{WEBSITES}/new/page")


def test_a_site_shows_nothing_that_nobody_may_read(browser: Browser, s3: Any, bucket: str) -> None:
    s3.put_object(Bucket=bucket, Key="index.html", Body=b"secret")
    s3.put_object(Bucket=bucket, Key="error.html", Body=b"secret, too")
    s3.put_bucket_website(
        Bucket=bucket, WebsiteConfiguration={name: SITE[name] for name in ("IndexDocument", "ErrorDocument")}
    )
    for path in ("/", "/index.html", "/absent"):
        seen = _visit(browser, bucket, path)
        assert (seen.status, seen.headers["x-amz-error-code"]) == (403, "AccessDenied")
        assert b"secret" not in seen.body
        assert _page(seen)
    s3.put_bucket_website(Bucket=bucket, WebsiteConfiguration=SITE)
    seen = _visit(browser, bucket, "/")
    assert (seen.status, seen.headers["location"].rpartition("/")[2]) == (301, "denied%20%3Cb%3E")


def test_a_site_only_shows(browser: Browser, s3: Any, bucket: str) -> None:
    s3.put_bucket_website(Bucket=bucket, WebsiteConfiguration=SITE)
    for method in ("PUT", "DELETE", "POST"):
        seen = _visit(browser, bucket, "/k", method)
        assert (seen.status, seen.headers["x-amz-error-code"]) == (405, "MethodNotAllowed")
