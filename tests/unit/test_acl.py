"""Access control lists: what canned names, headers and documents come to."""

from holdfast.access.acl import asked_by, resolve
from holdfast.s3.acl import ALL_USERS, Grant
from holdfast.s3.identities import OWNER_ID, ROOT, Account

OTHER = Account("e" * 64, "444455556666", "eve")


def test_what_an_owner_has_stands_behind_what_they_give() -> None:
    full = Grant(OWNER_ID, "FULL_CONTROL")
    everybody = (Grant(ALL_USERS, "READ"), Grant(ALL_USERS, "WRITE"))
    given = {
        f"x-amz-grant-{name}": f"id={OTHER.id}" for name in ("full-control", "write-acp", "read-acp", "write", "read")
    }
    permissions = ("READ", "WRITE", "READ_ACP", "WRITE_ACP", "FULL_CONTROL")
    for headers, expected in (
        ({"x-amz-acl": "private"}, (full,)),
        ({"x-amz-acl": "public-read-write"}, (*everybody, full)),
        ({"x-amz-acl": "bucket-owner-read"}, (full, Grant(OTHER.id, "READ"))),
        (given, tuple(Grant(OTHER.id, permission) for permission in permissions)),
        (
            {"x-amz-grant-read": f"id={OWNER_ID}, id={OTHER.id}"},
            (Grant(OTHER.id, "READ"), Grant(OWNER_ID, "READ")),
        ),
    ):
        wanted = asked_by(headers)
        assert wanted is not None
        accounts = {OWNER_ID: ROOT, OTHER.id: OTHER}
        found = resolve(wanted, owner=OWNER_ID, bucket_owner=OTHER.id, account_of=accounts.get)
        assert found.grants == expected
