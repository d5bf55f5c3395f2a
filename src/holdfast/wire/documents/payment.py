"""RequestPaymentConfiguration. Source: Amazon S3 API Reference, PutBucketRequestPayment."""

from holdfast.s3.payment import OWNER, REQUESTER, Payment
from holdfast.xml import Element, element, malformed


def read(root: Element) -> Payment:
    payer = root.get("Payer")
    if payer not in (OWNER, REQUESTER):
        raise malformed(f"the payer {payer!r}")
    return Payment(payer)


def write(value: Payment) -> str:
    return element("Payer", value.payer)
