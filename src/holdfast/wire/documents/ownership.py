"""OwnershipControls. Source: Amazon S3 API Reference, PutBucketOwnershipControls."""

from holdfast.errors import S3Error
from holdfast.s3.sharing import ENFORCED, PREFERRED, WRITER, OwnershipControls
from holdfast.xml import Element, element, malformed


def read(root: Element) -> OwnershipControls:
    """Exactly one rule."""
    rules = list(root.all("Rule"))
    if len(rules) != 1:
        raise malformed(f"{len(rules)} rules in OwnershipControls")
    rule = (rules[0].get("ObjectOwnership") or "").strip()
    if rule not in (ENFORCED, PREFERRED, WRITER):
        raise malformed(f"the ownership {rule!r}")
    return OwnershipControls(rule)


def write(value: OwnershipControls) -> str:
    """Raises OwnershipControlsNotFoundError for those that were taken away."""
    if not value.rule:
        raise S3Error("OwnershipControlsNotFoundError")
    return f"<Rule>{element('ObjectOwnership', value.rule)}</Rule>"
