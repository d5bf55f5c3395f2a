"""ServerSideEncryptionConfiguration. Source: Amazon S3 API Reference, PutBucketEncryption, ServerSideEncryptionRule."""

from holdfast.errors import S3Error
from holdfast.limits import KMS_KEY_ID_BYTES
from holdfast.model import SealKind
from holdfast.s3.encryption import BucketEncryption
from holdfast.xml import Element, element, malformed

_BLOCKABLE = frozenset({"NONE", "SSE-C"})


def read(root: Element) -> BucketEncryption:
    rules = list(root.all("Rule"))
    if len(rules) != 1:
        raise malformed(f"{len(rules)} rules")
    rule = rules[0]
    kind, key_id = None, ""
    for default in rule.all("ApplyServerSideEncryptionByDefault"):
        kind, key_id = _default(default)
    blocked = tuple(
        name.text.strip() for listed in rule.all("BlockedEncryptionTypes") for name in listed.all("EncryptionType")
    )
    if not _BLOCKABLE.issuperset(blocked):
        raise malformed("an EncryptionType that cannot be blocked")
    if kind is None and not blocked:
        raise malformed("a rule that says nothing")
    return BucketEncryption(kind, key_id, _flag(rule.get("BucketKeyEnabled")), blocked)


def _default(default: Element) -> tuple[SealKind, str]:
    name, key_id = (default.get("SSEAlgorithm") or "").strip(), (default.get("KMSMasterKeyID") or "").strip()
    if name == "aws:kms:dsse":
        message = "Dual-layer encryption is not implemented."
        raise S3Error("NotImplemented", message, fields={"Element": "SSEAlgorithm"})
    if name not in (SealKind.S3.value, SealKind.KMS.value):
        raise malformed(f"the SSEAlgorithm {name!r}")
    if key_id and name != SealKind.KMS.value:
        message = "a KMSMasterKeyID is not applicable if the default sse algorithm is not aws:kms or aws:kms:dsse"
        raise S3Error("InvalidArgument", message, fields={"ArgumentName": "ApplyServerSideEncryptionByDefault"})
    if len(key_id.encode()) > KMS_KEY_ID_BYTES:
        raise malformed("a KMSMasterKeyID that is too long")
    return SealKind(name), key_id


def _flag(text: str | None) -> bool | None:
    if text is None:
        return None
    if text.strip() not in ("true", "false"):
        raise malformed(f"BucketKeyEnabled {text!r}")
    return text.strip() == "true"


def write(value: BucketEncryption) -> str:
    content = ""
    if value.kind is not None:
        default = element("SSEAlgorithm", value.kind.value)
        if value.key_id:
            default += element("KMSMasterKeyID", value.key_id)
        content += f"<ApplyServerSideEncryptionByDefault>{default}</ApplyServerSideEncryptionByDefault>"
    content += element("BucketKeyEnabled", "true" if value.bucket_key else "false")
    if value.blocked:
        names = "".join(element("EncryptionType", name) for name in value.blocked)
        content += f"<BlockedEncryptionTypes>{names}</BlockedEncryptionTypes>"
    return f"<Rule>{content}</Rule>"
