"""CORSConfiguration. Source: Amazon S3 API Reference, PutBucketCors."""

from holdfast.errors import S3Error
from holdfast.limits import CORS_RULES, RULE_ID_CHARS
from holdfast.s3.cors import METHODS, Cors, CorsRule, is_token
from holdfast.xml import Element, element, malformed

_AGE_DIGITS = 10


def read(root: Element) -> Cors:
    rules = tuple(_rule(child) for child in root.all("CORSRule"))
    if not rules:
        raise malformed("CORSConfiguration without a CORSRule")
    if len(rules) > CORS_RULES:
        message = f"The number of CORS rules should not exceed allowed limit of {CORS_RULES} rules."
        raise S3Error("InvalidRequest", message)
    return Cors(rules)


def _rule(item: Element) -> CorsRule:
    methods = tuple(child.text.strip() for child in item.all("AllowedMethod"))
    for method in methods:
        if method not in METHODS:
            message = f"Found unsupported HTTP method in CORS config. Unsupported method is {method}"
            raise S3Error("InvalidRequest", message)
    origins = _texts(item, "AllowedOrigin")
    if not origins or not methods:
        raise malformed("a CORSRule without an AllowedOrigin or AllowedMethod")
    headers, exposed = _texts(item, "AllowedHeader"), _texts(item, "ExposeHeader")
    for name, patterns in (("AllowedOrigin", origins), ("AllowedHeader", headers)):
        for pattern in patterns:
            if pattern.count("*") > 1:
                raise S3Error("InvalidRequest", f'{name} "{pattern}" can not have more than one wildcard.')
    for name, patterns in (("AllowedHeader", headers), ("ExposeHeader", exposed)):
        for pattern in patterns:
            if not is_token(pattern):
                raise S3Error("InvalidRequest", f'{name} "{pattern}" contains invalid character.')
    for header in exposed:
        if "*" in header:
            message = (
                f'ExposeHeader "{header}" contains wildcard. We currently do not support wildcard for ExposeHeader.'
            )
            raise S3Error("InvalidRequest", message)
    identifier = item.get("ID") or ""
    if len(identifier) > RULE_ID_CHARS:
        raise malformed(f"an ID of {len(identifier)} characters")
    lower = tuple(header.lower() for header in headers)
    return CorsRule(identifier, origins, methods, lower, exposed, _age(item.get("MaxAgeSeconds")))


def _texts(item: Element, name: str) -> tuple[str, ...]:
    """All of a name; they leave in headers again, so they are printable."""
    texts = tuple(child.text.strip() for child in item.all(name))
    if not all(text and text.isprintable() for text in texts):
        raise malformed(f"an {name} that is empty or not printable")
    return texts


def _age(text: str | None) -> int | None:
    if text is None:
        return None
    text = text.strip()
    digits = text.removeprefix("-")  # Amazon takes negative ages; to browsers they mean none.
    if not (digits.isascii() and digits.isdigit() and len(digits) <= _AGE_DIGITS):
        raise malformed(f"MaxAgeSeconds {text!r}")
    return int(text)


def write(value: Cors) -> str:
    return "".join(f"<CORSRule>{_written(rule)}</CORSRule>" for rule in value.rules)


def _written(rule: CorsRule) -> str:
    content = element("ID", rule.id) if rule.id else ""
    for name, texts in (
        ("AllowedHeader", rule.headers),
        ("AllowedMethod", rule.methods),
        ("AllowedOrigin", rule.origins),
        ("ExposeHeader", rule.exposed),
    ):
        content += "".join(element(name, text) for text in texts)
    return content + ("" if rule.max_age_s is None else element("MaxAgeSeconds", rule.max_age_s))
