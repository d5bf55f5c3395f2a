"""WebsiteConfiguration. Source: Amazon S3 API Reference, PutBucketWebsite."""

from collections.abc import Iterator

from holdfast.errors import S3Error
from holdfast.limits import KEY_BYTES, WEBSITE_RULES
from holdfast.s3.website import Redirect, RoutingRule, Website
from holdfast.xml import Element, element, malformed

_PROTOCOLS = ("http", "https")
_REDIRECTS = frozenset({301, 302, 303, 304, 305, 307, 308})
_ERRORS = frozenset({*range(400, 418), *range(500, 506)})


def read(root: Element) -> Website:
    everything, index = root.find("RedirectAllRequestsTo"), root.find("IndexDocument")
    rules = tuple(_rule(child) for outer in root.all("RoutingRules") for child in outer.all("RoutingRule"))
    if everything is not None:
        if index is not None or rules or root.find("ErrorDocument") is not None:
            raise malformed("RedirectAllRequestsTo beside other elements")
        host = _printable("HostName", everything.get("HostName") or "")
        if not host:
            raise malformed("RedirectAllRequestsTo without a HostName")
        return Website(elsewhere=Redirect(host, _protocol(everything)))
    if index is None:
        raise _refused(
            "IndexDocument",
            "null",
            "A value for IndexDocument Suffix must be provided if RedirectAllRequestsTo is empty",
        )
    suffix = index.get("Suffix") or ""
    if not suffix or "/" in suffix:
        raise _refused("IndexDocument", suffix, "The IndexDocument Suffix is not well formed")
    if len(rules) > WEBSITE_RULES:
        message = f"{len(rules)} routing rules provided, the number of routing rules in a website configuration is limited to {WEBSITE_RULES}."
        raise S3Error("InvalidRequest", message)
    return Website(_key("IndexDocument", suffix), _error(root), rules)


def _error(root: Element) -> str:
    document = root.find("ErrorDocument")
    if document is None:
        return ""
    key = document.get("Key") or ""
    if not key:
        raise _refused("ErrorDocument", key, "The ErrorDocument Key is not well formed")
    return _key("ErrorDocument", key)


def _rule(item: Element) -> RoutingRule:
    redirect = item.find("Redirect")
    if redirect is None:
        raise malformed("a RoutingRule without a Redirect")
    condition = item.find("Condition")
    prefix, status = "", 0
    if condition is not None:
        given, code = condition.get("KeyPrefixEquals"), condition.get("HttpErrorCodeReturnedEquals")
        if given is None and code is None:
            raise malformed("an empty Condition")
        prefix = given or ""
        if code is not None:
            status = _status(code, _ERRORS, "error", "4XX or 5XX")
    return RoutingRule(_redirect(redirect), prefix, status)


def _redirect(item: Element) -> Redirect:
    prefix, key, code = item.get("ReplaceKeyPrefixWith"), item.get("ReplaceKeyWith"), item.get("HttpRedirectCode")
    host = _printable("HostName", item.get("HostName") or "")
    if not item.children:
        raise malformed("an empty Redirect")
    if prefix is not None and key is not None:
        raise S3Error("InvalidRequest", "You can only define ReplaceKeyPrefix or ReplaceKey but not both.")
    status = 301 if code is None else _status(code, _REDIRECTS, "redirect", "3XX except 300")
    return Redirect(host, _protocol(item), status, code is not None, prefix, key)


def _protocol(item: Element) -> str:
    text = item.get("Protocol") or ""
    if text and text not in _PROTOCOLS:
        message = "Invalid protocol, protocol can be http or https. If not defined the protocol will be selected automatically."
        raise S3Error("InvalidRequest", message)
    return text


def _status(text: str, valid: frozenset[int], what: str, told: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 3):
        raise malformed(f"the status {text!r}")
    if int(text) not in valid:
        message = f"The provided HTTP {what} code ({text}) is not valid. Valid codes are {told}."
        raise S3Error("InvalidRequest", message)
    return int(text)


def _printable(name: str, text: str) -> str:
    """The text, which can stand in a Location."""
    if not text.isprintable() or any(mark in text for mark in "/?# "):
        raise _refused(name, text, "The host name is not valid.")
    return text


def _key(name: str, text: str) -> str:
    if len(text.encode()) > KEY_BYTES:
        raise _refused(name, text, f"A key has at most {KEY_BYTES} bytes.")
    return text


def _refused(name: str, value: str, message: str) -> S3Error:
    return S3Error("InvalidArgument", message, fields={"ArgumentName": name, "ArgumentValue": value})


def write(value: Website) -> str:
    if value.elsewhere is not None:
        return f"<RedirectAllRequestsTo>{''.join(_target(value.elsewhere))}</RedirectAllRequestsTo>"
    content = f"<IndexDocument>{element('Suffix', value.index)}</IndexDocument>"
    if value.error:
        content += f"<ErrorDocument>{element('Key', value.error)}</ErrorDocument>"
    if value.rules:
        content += f"<RoutingRules>{''.join(_written(rule) for rule in value.rules)}</RoutingRules>"
    return content


def _written(rule: RoutingRule) -> str:
    condition = element("KeyPrefixEquals", rule.prefix) if rule.prefix else ""
    if rule.status:
        condition += element("HttpErrorCodeReturnedEquals", rule.status)
    if condition:
        condition = f"<Condition>{condition}</Condition>"
    return f"<RoutingRule>{condition}<Redirect>{''.join(_target(rule.redirect))}</Redirect></RoutingRule>"


def _target(redirect: Redirect) -> Iterator[str]:
    if redirect.host:
        yield element("HostName", redirect.host)
    if redirect.code_given:
        yield element("HttpRedirectCode", redirect.code)
    if redirect.protocol:
        yield element("Protocol", redirect.protocol)
    if redirect.prefix is not None:
        yield element("ReplaceKeyPrefixWith", redirect.prefix)
    if redirect.key is not None:
        yield element("ReplaceKeyWith", redirect.key)
