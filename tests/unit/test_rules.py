"""What a bucket is made with: the ownership that its request says, or else the operator's, and the list that this allows."""

from types import SimpleNamespace
from typing import Any, cast

import pytest

from holdfast import s3
from holdfast.access.principal import principal_of
from holdfast.access.question import Question
from holdfast.access.rules import amended
from holdfast.errors import S3Error
from holdfast.model import pack
from holdfast.s3.identities import OWNER_ID, ROOT, Identity
from holdfast.s3.sharing import ENFORCED, WRITER, OwnershipControls


def made(ownership: str, **headers: str) -> s3.CreateBucket:
    """The request for a bucket as the store gets it. No list here names anybody, so nobody is looked up."""
    ask = s3.CreateBucket("b")
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    question = Question("CreateBucket", ask, "b", "", headers=sent, query={}, ownership=ownership)
    identities = cast("Any", SimpleNamespace(account=None))
    return cast("s3.CreateBucket", amended(ask, principal_of(Identity(ROOT)), question, None, identities))


def test_a_bucket_gets_the_operators_ownership_unless_it_asks_for_another() -> None:
    assert made(ENFORCED) == s3.CreateBucket("b", owner=OWNER_ID)
    assert made(WRITER).settings == {"ownershipControls": pack(OwnershipControls(WRITER))}
    assert made(WRITER, x_amz_object_ownership=ENFORCED).settings == {}
    assert made(ENFORCED, x_amz_object_ownership=WRITER).settings == made(WRITER).settings


def test_a_public_list_needs_an_ownership_that_has_lists() -> None:
    with pytest.raises(S3Error, match="InvalidBucketAclWithObjectOwnership"):
        made(ENFORCED, x_amz_acl="public-read")
    assert set(made(WRITER, x_amz_acl="public-read").settings) == {"ownershipControls", "acl"}
