"""PublicAccessBlockConfiguration. Source: Amazon S3 API Reference, PutPublicAccessBlock."""

from holdfast.s3.sharing import PublicAccessBlock
from holdfast.xml import Element, element, malformed

_FIELDS = {
    "BlockPublicAcls": "block_acls",
    "IgnorePublicAcls": "ignore_acls",
    "BlockPublicPolicy": "block_policy",
    "RestrictPublicBuckets": "restrict_buckets",
}


def read(root: Element) -> PublicAccessBlock:
    """What is not named is off."""
    values: dict[str, bool] = {}
    for child in root.children:
        text = child.text.strip().lower()
        if child.name not in _FIELDS or text not in ("true", "false"):
            raise malformed(f"{child.name} in PublicAccessBlockConfiguration")
        values[_FIELDS[child.name]] = text == "true"
    return PublicAccessBlock(**values)


def write(value: PublicAccessBlock) -> str:
    return "".join(element(name, "true" if getattr(value, field) else "false") for name, field in _FIELDS.items())
