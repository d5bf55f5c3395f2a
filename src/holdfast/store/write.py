"""PutObject, and what every write does once its body is here: commit it, then see it acknowledged.

Invariant: nothing is acknowledged before the index committed it, and no grid sees a version before that.
"""

import asyncio

from holdfast.copies.holdable import check_holdable
from holdfast.copies.site import Site
from holdfast.errors import S3Error
from holdfast.index.interface import Debt, Delay, NewVersion, Written
from holdfast.limits import LEASE_S
from holdfast.model import UNMARKED, Bucket, Facts, Layout, Marks, Place, Redundancy, Version, WriteCondition, replace
from holdfast.s3 import Body, ObjectPut, PutObject
from holdfast.s3.encryption import sealed
from holdfast.s3.expiry import expiry_of
from holdfast.s3.notices import CREATED_POST, CREATED_PUT, notices_of
from holdfast.store.acknowledge import Acknowledgement, candidates_of, outage
from holdfast.store.ahead import Ahead, staging_ahead
from holdfast.store.locks import marks_with_default
from holdfast.store.receive import Received, receive
from holdfast.store.seals import begin_sealing, wanted


async def put_object(site: Site, ask: PutObject, body: Body) -> ObjectPut:
    """Store a body under its key."""
    bucket = await site.index.bucket(ask.bucket)
    policy = check_outage(site, ask.bucket)
    seal = wanted(bucket, policy, ask.seal)
    sealing = None if seal is None else await begin_sealing(site, Place(ask.bucket, ask.key), seal)
    size = body.size if sealing is None else sealing.stored_size(body.size)
    check_holdable(site, policy, bucket=ask.bucket, key=ask.key, facts=ask.facts, size=size)
    async with staging_ahead(site, ask, policy, size) as ahead:
        received = await receive(site, body, ask.expected, ahead=ahead, sealing=sealing)
        facts = facts_with(ask.facts, received)
        marks = ask.marks
        if bucket.settings or marks is not UNMARKED:
            marks = marks_with_default(bucket, marks, site.clock.now_ms())
        now_ms, version_id = await commit_body(
            site,
            bucket,
            ask.key,
            received,
            facts,
            ask.condition,
            ahead,
            marks=marks,
            event=CREATED_POST if ask.form else CREATED_PUT,
        )
    expiry = expiry_of(bucket, ask.key, received.plain_size, marks.tags, now_ms)
    told = None if seal is None else sealed(received.seal, seal.customer)
    return ObjectPut(received.etag, received.checksum, received.plain_size, version_id, expiry, told)


def facts_with(facts: Facts, received: Received) -> Facts:
    """The facts of a version whose checksum and seal are now known."""
    if received.checksum is None and received.seal is None:
        return facts
    return Facts(facts.system, facts.user, facts.storage_class, received.checksum, facts.upload_id, received.seal)


async def commit_body(
    site: Site,
    bucket: Bucket,
    key: str,
    received: Received,
    facts: Facts,
    condition: WriteCondition,
    ahead: Ahead | None = None,
    *,
    marks: Marks = UNMARKED,
    event: str,
) -> tuple[int, str]:
    """Commit a received body as the current version, which is told as this `event`; returns its modification time (ms) and its
    version id."""
    now_ms = site.clock.now_ms() if ahead is None else ahead.label.modified_ms
    notices = notices_of(
        bucket, site.webhooks, (event,), key, at_ms=now_ms, size=received.plain_size, etag=received.etag
    )
    if received.inline is not None:
        version = NewVersion(
            bucket.name, key, received.size, received.etag, now_ms, facts, (),
            inline=received.inline, crc=received.crc, condition=condition, marks=marks, notices=notices,
        )  # fmt: skip
    else:
        assert received.file is not None
        version = NewVersion(
            bucket.name, key, received.size, received.etag, now_ms, facts, (),
            layout=Layout((received.part(1, now_ms),), multipart=False), spool=(received.file,), condition=condition,
            seq=ahead.label.seq if ahead is not None else 0, marks=marks, notices=notices,
        )  # fmt: skip
    return now_ms, (await commit(site, version, ahead=ahead)).version_id


def check_outage(site: Site, bucket: str) -> Redundancy:
    """The policy of a bucket, once it is clear that it takes writes now: `outage = "refuse"` needs `ack` grids that can be
    reached and have not just failed to write."""
    policy = site.redundancy(bucket)
    if not policy.accept_outage:
        seats = [site.seat(number) for number in policy.grids]
        reachable = [seat for seat in seats if seat is not None and seat.writable]
        if len(reachable) < policy.ack:
            raise outage(
                f"policy {policy.name}: {len(reachable)} grids can be written to and {policy.ack} must hold a write"
            )
    return policy


async def commit(site: Site, version: NewVersion, upload_id: str = "", ahead: Ahead | None = None) -> Written:
    """Commit a version with its debts, and return when as many grids hold it as its policy wants.

    With an `upload_id` the multipart upload ends in the same commit. Raises what the index raises, and ServiceUnavailable when
    the policy refuses outages and too few grids hold the write (which is committed, and will be paid).
    """
    policy = site.redundancy(version.bucket)
    change, candidates = replace(version, owes=policy.grids), list[int]()
    if policy.ack:
        candidates = candidates_of(site, policy, ahead)
        # A grid that is down when an outage is accepted will not be waited for: its debt is catch-up's from the beginning.
        wanted = candidates[: policy.ack]
        claims = [number for number in wanted if site.is_up(number) or not policy.accept_outage]
        change = _claiming(site, change, tuple(claims))
    try:
        written = await (site.index.complete_upload(upload_id, change) if upload_id else _put(site, change))
    except asyncio.CancelledError:
        # The client left, and the commit may be on its way: nobody is going to pay what it claims.
        now_ms = site.clock.now_ms()
        claimed = [Debt(n, change.bucket, change.key, 0, 0, 0, change.holder, policy.name, None) for n in change.claims]
        await site.index.postpone([Delay(debt, now_ms, "the client left", False) for debt in claimed])
        raise
    if change.notices:
        site.note_notices()
    if written.released:
        await site.spool.release(written.released)
    if policy.ack:
        await Acknowledgement(site, change, written, policy, ahead).reach(candidates)
    site.note_debts()
    return written


async def acknowledge_again(site: Site, bucket: str, key: str, version: Version) -> None:
    """A write is repeated that made this version: return when the write itself would. Raises ServiceUnavailable."""
    policy = site.redundancy(bucket)
    if policy.ack:
        change = NewVersion(
            bucket, key, version.size, version.etag, version.modified_ms, version.facts, policy.grids,
            holder=site.new_holder(),
        )  # fmt: skip
        written = Written(version.seq, (), ())
        await Acknowledgement(site, change, written, policy).reach(candidates_of(site, policy))


async def _put(site: Site, change: NewVersion) -> Written:
    try:
        return await site.index.put(change)
    except S3Error:
        # The index refused: nothing refers to the files. After any other failure it may, and the sweep decides.
        await site.spool.release([file.id for file in change.spool])
        raise


def _claiming(site: Site, version: NewVersion, claims: tuple[int, ...]) -> NewVersion:
    until_ms = site.clock.now_ms() + int(LEASE_S * 1000)
    return replace(version, holder=site.new_holder(), claims=claims, lease_until_ms=until_ms)
