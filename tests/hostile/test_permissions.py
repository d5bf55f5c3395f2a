"""Permissions as a table: every operation there is, by everybody who might ask.

Without exactly the actions that Amazon's documents name for it, no operation reaches the store; with exactly these, it does. The operations are those
of `wire/operations.py`: a new row is in here by itself, and PERMISSIONS must say what it needs. Source: Service Authorization Reference,
"Actions, resources, and condition keys for Amazon S3".
"""

from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, Final

from holdfast import s3
from holdfast.access.actions import NEEDS as TABLE
from holdfast.clock import SystemClock
from holdfast.events import RequestEnded, Teller
from holdfast.grids.memory import MemoryGrid
from holdfast.index.sqlite import SqliteIndex
from holdfast.model import Facts, pack, to_json
from holdfast.s3.identities import OWNER_ID, AccessKey, Account, Kind, Member, context_of
from holdfast.s3.sharing import BucketPolicy
from holdfast.sealing.master import KEY_BYTES, MasterKey
from holdfast.serve.gateway import Gateway
from holdfast.testing.rawhttp import StillClock, run, serving
from holdfast.testing.scene import REGION, guard_of
from holdfast.wire.operations import OPERATIONS, Operation, Scope
from tests.engine import BUCKET, engine
from tests.hostile.forging import Ask, Sent, Terms, by_header, by_query
from tests.hostile.test_authorization import BEFORE_THE_STORE, IMPLEMENTED, KEY, Counting, Table

B, O = f"arn:aws:s3:::{BUCKET}", f"arn:aws:s3:::{BUCKET}/{KEY}"  # noqa: E741
ANOTHER, SOURCE, K = "arn:aws:s3:::another", f"arn:aws:s3:::{BUCKET}/source", f"arn:aws:s3:::{BUCKET}/k"


def _pairs(names: str, action: str) -> dict[str, dict[str, str]]:
    """Get and Put of a setting, and its Delete as whoever may put it."""
    return {
        f"Get{names}": {f"s3:Get{action}": B},
        f"Put{names}": {f"s3:Put{action}": B},
        f"Delete{names}": {f"s3:Put{action}": B},
    }


PERMISSIONS: Final[dict[str, dict[str, str]]] = {
    "ListBuckets": {"s3:ListAllMyBuckets": "*"},
    "CreateBucket": {"s3:CreateBucket": ANOTHER},
    "HeadBucket": {"s3:ListBucket": B},
    "DeleteBucket": {"s3:DeleteBucket": B},
    "GetBucketLocation": {"s3:GetBucketLocation": B},
    "ListObjects": {"s3:ListBucket": B},
    "ListObjectsV2": {"s3:ListBucket": B},
    "ListObjectVersions": {"s3:ListBucketVersions": B},
    "ListMultipartUploads": {"s3:ListBucketMultipartUploads": B},
    "DeleteObjects": {"s3:DeleteObject": K},
    **_pairs("BucketVersioning", "BucketVersioning"),
    **_pairs("ObjectLockConfiguration", "BucketObjectLockConfiguration"),
    **_pairs("BucketAcl", "BucketAcl"),
    **_pairs("BucketPolicy", "BucketPolicy"),
    "DeleteBucketPolicy": {"s3:DeleteBucketPolicy": B},
    "GetBucketPolicyStatus": {"s3:GetBucketPolicyStatus": B},
    **_pairs("BucketOwnershipControls", "BucketOwnershipControls"),
    **_pairs("PublicAccessBlock", "BucketPublicAccessBlock"),
    **_pairs("BucketTagging", "BucketTagging"),
    **_pairs("BucketCors", "BucketCORS"),
    **_pairs("BucketEncryption", "EncryptionConfiguration"),
    **_pairs("BucketLifecycleConfiguration", "LifecycleConfiguration"),
    "DeleteBucketLifecycle": {"s3:PutLifecycleConfiguration": B},
    **_pairs("BucketLogging", "BucketLogging"),
    **_pairs("BucketNotificationConfiguration", "BucketNotification"),
    **_pairs("BucketRequestPayment", "BucketRequestPayment"),
    **_pairs("BucketReplication", "ReplicationConfiguration"),
    **_pairs("BucketAccelerateConfiguration", "AccelerateConfiguration"),
    **{
        f"{verb}Bucket{noun}Configuration{plural}": {f"s3:{right}{noun}Configuration": B}
        for noun in ("Analytics", "IntelligentTiering", "Inventory", "Metrics")
        for verb, plural, right in (("Get", "", "Get"), ("List", "s", "Get"), ("Delete", "", "Put"))
    },
    **_pairs("BucketWebsite", "BucketWebsite"),
    "DeleteBucketWebsite": {"s3:DeleteBucketWebsite": B},
    "GetObject": {"s3:GetObject": O},
    "HeadObject": {"s3:GetObject": O},
    "PutObject": {"s3:PutObject": O},
    "DeleteObject": {"s3:DeleteObject": O},
    "CopyObject": {"s3:GetObject": SOURCE, "s3:PutObject": O},
    "GetObjectAttributes": {"s3:GetObject": O, "s3:GetObjectAttributes": O},
    "CreateMultipartUpload": {"s3:PutObject": O},
    "UploadPart": {"s3:PutObject": O},
    "UploadPartCopy": {"s3:GetObject": SOURCE, "s3:PutObject": O},
    "CompleteMultipartUpload": {"s3:PutObject": O},
    "AbortMultipartUpload": {"s3:AbortMultipartUpload": O},
    "ListParts": {"s3:ListMultipartUploadParts": O},
    "GetObjectAcl": {"s3:GetObjectAcl": O},
    "PutObjectAcl": {"s3:PutObjectAcl": O},
    "GetObjectLegalHold": {"s3:GetObjectLegalHold": O},
    "PutObjectLegalHold": {"s3:PutObjectLegalHold": O},
    "GetObjectRetention": {"s3:GetObjectRetention": O},
    "PutObjectRetention": {"s3:PutObjectRetention": O},
    "GetObjectTagging": {"s3:GetObjectTagging": O},
    "PutObjectTagging": {"s3:PutObjectTagging": O},
    "DeleteObjectTagging": {"s3:DeleteObjectTagging": O},
}
WALKED: Final = sorted(IMPLEMENTED, key=lambda row: row.name == "AbortMultipartUpload")
"""The upload ends last. What browsers ask without a signature in the headers is in `tests/clients/test_boto3_forms.py`."""
VERSIONED: Final = {
    "GetObject": "s3:GetObjectVersion",
    "HeadObject": "s3:GetObjectVersion",
    "DeleteObject": "s3:DeleteObjectVersion",
    "GetObjectAcl": "s3:GetObjectVersionAcl",
}
HEADERS: Final = {
    "x-amz-tagging": ("a=b", "s3:PutObjectTagging"),
    "x-amz-acl": ("bucket-owner-full-control", "s3:PutObjectAcl"),
    "x-amz-object-lock-legal-hold": ("ON", "s3:PutObjectLegalHold"),
}
"""Headers of a PutObject that need an action of their own."""
ALICE, EVE = Terms(access="AKIDALICE", secret="of alice"), Terms(access="AKIDEVE", secret="of eve")
EVE_ID: Final = "e" * 64


class Court(Table):
    """A table at which a user without rights asks, who can be given some."""

    async def allow(self, permissions: dict[str, str], *, effect: str = "Allow", name: str = "test") -> None:
        statements = [
            {"Effect": effect, "Action": action, "Resource": resource} for action, resource in permissions.items()
        ]
        document = to_json({"Version": "2012-10-17", "Statement": statements}).decode() if statements else None
        identities = self.store.engine.site.index.identities
        await identities.attach("AIDALICE", name, document)

    async def refused(self, row: Operation, sent: Sent) -> None:
        """It is denied, and nothing of it reached the store."""
        self.store.reached.clear()
        status, code = await self.answer(sent)
        event = self.told[-1]
        if row.name == "DeleteObjects" and event.access_key:
            assert (status, code) == (200, ""), row.name  # Each key is refused for itself.
        else:
            assert (status, code) == (403, "AccessDenied"), f"{row.name}: {status} {code}"
            assert event.decision == "deny" and event.reason, row.name
        assert not self.store.reached, row.name

    async def let_in(self, row: Operation, sent: Sent) -> None:
        """It reached the store, which may still have found something wrong with it."""
        self.store.reached.clear()
        status, code = await self.answer(sent)
        assert (len(self.store.reached) == 1) or BEFORE_THE_STORE.get(row.name) == code, f"{row.name}: {status} {code}"
        assert code != "AccessDenied", row.name
        assert self.told[-1].decision == "allow" and self.told[-1].reason, row.name


def held(tmp_path: Path, body: Callable[[Court], Coroutine[Any, Any, None]]) -> None:
    """Run `body` with a user Alice of the root account, and Eve, who owns another one."""

    async def main() -> None:
        async with engine(tmp_path, [MemoryGrid("a")]) as made:
            store = Counting(made)
            for key in ("source", KEY):
                await made.put(key, b"some bytes")
            created = await made.store.create_multipart_upload(s3.CreateMultipartUpload(BUCKET, KEY, Facts()))
            store.upload = created.upload_id
            identities, master = made.site.index.identities, MasterKey([bytes(KEY_BYTES)], StillClock())
            await identities.add_account(Account(EVE_ID, "222233334444", "eve"))
            await identities.add_member(Member("AIDALICE", OWNER_ID, Kind.USER, "alice"))
            for terms, account, member in ((ALICE, OWNER_ID, "AIDALICE"), (EVE, EVE_ID, "")):
                sealed = master.wrap(terms.secret.encode(), context_of(terms.access))
                await identities.add_key(AccessKey(terms.access, account, member, sealed))
            told: list[RequestEnded] = []
            teller = Teller()
            teller.subscribe(lambda event: told.append(event) if isinstance(event, RequestEnded) else None)
            guard = guard_of(made.site.index)
            gateway = Gateway(store, guard=guard, region=REGION, domain="", clock=StillClock(), teller=teller)
            async with serving(gateway.handle) as (_, port):
                await body(Court(store, port, told))

    run(main())


def _unsigned(ask: Ask) -> Sent:
    sent = by_header(ask)
    return sent._replace(headers=tuple(pair for pair in sent.headers if pair[0] != "authorization"))


def test_every_operation_says_what_it_needs() -> None:
    names = {row.name for row in OPERATIONS}
    assert set(TABLE) >= names, "access/actions.py"
    assert {row.name for row in WALKED} <= set(PERMISSIONS)


def test_without_a_permission_no_operation_reaches_the_store(tmp_path: Path) -> None:
    async def body(court: Court) -> None:
        for row in WALKED:
            ask = court.ask(row)
            await court.refused(row, by_header(ask, ALICE))
            await court.refused(row, by_query(ask, ALICE))
            await court.refused(row, _unsigned(ask))
            if row.scope is not Scope.SERVICE and row.name != "CreateBucket":
                await court.refused(row, by_header(ask, EVE))

    held(tmp_path, body)


def test_with_exactly_its_permissions_each_operation_does(tmp_path: Path) -> None:
    async def body(court: Court) -> None:
        for row in WALKED:
            exact = PERMISSIONS[row.name]
            ask = court.ask(row)
            for action in exact if len(exact) > 1 else ():
                await court.allow({name: resource for name, resource in exact.items() if name != action})
                await court.refused(row, by_header(ask, ALICE))
            await court.allow(exact)
            await court.let_in(row, by_header(ask, ALICE))

    held(tmp_path, body)


def test_an_explicit_deny_outweighs_everything(tmp_path: Path) -> None:
    async def body(court: Court) -> None:
        await court.allow({"*": "*"}, name="everything")
        for row in WALKED:
            for action, resource in PERMISSIONS[row.name].items():
                await court.allow({action: resource}, effect="Deny")
                await court.refused(row, by_header(court.ask(row), ALICE))

    held(tmp_path, body)


def test_a_version_needs_an_action_of_its_own(tmp_path: Path) -> None:
    async def body(court: Court) -> None:
        for row in WALKED:
            if row.name in VERSIONED:
                ask = court.ask(row)
                ask = ask._replace(query=(*ask.query, ("versionId", "null")))
                await court.allow(PERMISSIONS[row.name])
                await court.refused(row, by_header(ask, ALICE))
                await court.allow({VERSIONED[row.name]: O})
                await court.let_in(row, by_header(ask, ALICE))

    held(tmp_path, body)


def test_what_a_header_asks_for_needs_an_action_of_its_own(tmp_path: Path) -> None:
    async def body(court: Court) -> None:
        (row,) = (row for row in WALKED if row.name == "PutObject")
        for name, (value, action) in HEADERS.items():
            ask = court.ask(row)._replace(headers={name: value})
            await court.allow({"s3:PutObject": O})
            await court.refused(row, by_header(ask, ALICE))
            await court.allow({"s3:PutObject": O, action: O})
            status, code = await court.answer(by_header(ask, ALICE))
            assert code != "AccessDenied", f"{name}: {status} {code}"
        (row,) = (row for row in WALKED if row.name == "DeleteObject")
        ask = court.ask(row)._replace(headers={"x-amz-bypass-governance-retention": "true"})
        await court.allow({"s3:DeleteObject": O})
        await court.refused(row, by_header(ask, ALICE))
        await court.allow({"s3:DeleteObject": O, "s3:BypassGovernanceRetention": O})
        await court.let_in(row, by_header(ask, ALICE))

    held(tmp_path, body)


def test_whoever_may_not_list_does_not_learn_what_is_not_there(tmp_path: Path) -> None:
    async def body(court: Court) -> None:
        (row,) = (row for row in WALKED if row.name == "GetObject")
        ask = court.ask(row)._replace(path=f"/{BUCKET}/absent")
        await court.allow({"s3:GetObject": "*"})
        assert await court.answer(by_header(ask, ALICE)) == (403, "AccessDenied")
        await court.allow({"s3:GetObject": "*", "s3:ListBucket": B})
        assert await court.answer(by_header(ask, ALICE)) == (404, "NoSuchKey")

    held(tmp_path, body)


def test_what_another_process_denies_is_denied_at_once_whatever_was_remembered(tmp_path: Path) -> None:
    deny = {"Effect": "Deny", "Principal": "*", "Action": "s3:GetObject", "Resource": f"{B}/*"}
    policy = BucketPolicy(to_json({"Version": "2012-10-17", "Statement": [deny]}).decode())

    async def body(court: Court) -> None:
        other = SqliteIndex(tmp_path / "index.db", clock=SystemClock(), teller=Teller(), node="another")
        await other.open()
        for method in ("GET", "HEAD"):
            for key, found in ((KEY, 200), ("nothing", 404)):
                ask = by_header(Ask(method, f"/{BUCKET}/{key}"))
                assert (await court.answer(ask))[0] == found
                assert court.told[-1].reason == "account owner"
                await other.configure(BUCKET, "policy", pack(policy))
                assert await court.answer(ask) == (403, "AccessDenied")
                assert court.told[-1].decision == "deny"
                await other.configure(BUCKET, "policy", None)
                assert (await court.answer(ask))[0] == found
        await other.close()

    held(tmp_path, body)
