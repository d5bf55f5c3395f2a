"""PutObject, and what every write does after its body is here: commit, publish, acknowledge.

Invariant: nothing is acknowledged before the index committed it, and no grid sees a version before that.
"""

import asyncio

from holdfast.copies.paying import pay
from holdfast.copies.site import Site
from holdfast.errors import QuorumMissed, S3Error
from holdfast.index.interface import Debt, NewVersion, Payment, Written
from holdfast.limits import ACK_POLL_S, ACK_WAIT_S, LEASE_S
from holdfast.model import Facts, GridState, Layout, Redundancy, Version, WriteCondition, replace
from holdfast.s3 import Body, ObjectPut, PutObject
from holdfast.store.plan import enough
from holdfast.store.receive import Received, receive


async def put_object(site: Site, ask: PutObject, body: Body) -> ObjectPut:
    """Store a body under its key."""
    await site.index.bucket(ask.bucket)
    check_outage(site, ask.bucket)
    received = await receive(site, body, ask.expected)
    facts = with_checksum(ask.facts, received)
    await commit_body(site, ask.bucket, ask.key, received, facts, ask.condition)
    return ObjectPut(received.md5, received.checksum, received.size)


def with_checksum(facts: Facts, received: Received) -> Facts:
    """The facts of a version whose checksum is now known."""
    if received.checksum is None:
        return facts
    return Facts(facts.system, facts.user, facts.storage_class, received.checksum, facts.upload_id)


async def commit_body(
    site: Site, bucket: str, key: str, received: Received, facts: Facts, condition: WriteCondition
) -> int:
    """Commit a received body as the current version; returns its modification time (ms)."""
    now_ms = site.clock.now_ms()
    if received.inline is not None:
        version = NewVersion(
            bucket, key, received.size, received.md5, now_ms, facts, (),
            inline=received.inline, crc=received.crc, condition=condition,
        )  # fmt: skip
    else:
        assert received.file is not None
        version = NewVersion(
            bucket, key, received.size, received.md5, now_ms, facts, (),
            layout=Layout((received.part(1, now_ms),), multipart=False), spool=(received.file,), condition=condition,
        )  # fmt: skip
    await commit(site, version)
    return now_ms


def check_outage(site: Site, bucket: str) -> Redundancy:
    """The policy of a bucket, once it is clear that it takes writes now: `outage = "refuse"` needs `ack` grids."""
    policy = site.redundancy(bucket)
    if not policy.accept_outage:
        reachable = [number for number in policy.grids if _is_up(site, number)]
        if len(reachable) < policy.ack:
            raise _outage(
                f"policy {policy.name}: {len(reachable)} grids are reachable and {policy.ack} must hold a write"
            )
    return policy


def _is_up(site: Site, number: int) -> bool:
    seat = site.seat(number)
    return seat is not None and seat.state is GridState.UP


def _outage(detail: str) -> S3Error:
    return S3Error(
        "ServiceUnavailable",
        "Too few storage systems can be reached for the reliability that this bucket's policy promises. Try again.",
        detail=detail,
    )


async def commit(site: Site, version: NewVersion, upload_id: str = "") -> Written:
    """Commit a version with its debts, and return when as many grids hold it as its policy wants.

    With an `upload_id` the multipart upload ends in the same commit. Raises what the index raises, and ServiceUnavailable when
    the policy refuses outages and too few grids hold the write (which is committed, and will be paid).
    """
    policy = site.redundancy(version.bucket)
    change, candidates = version, list[int]()
    if policy.ack:
        candidates = sorted(policy.grids, key=lambda number: not _is_up(site, number))
        change = _claiming(site, version, policy, tuple(candidates[: policy.ack]))
    change = replace(change, owes=policy.grids)
    written = await (site.index.complete_upload(upload_id, change) if upload_id else _put(site, change))
    if written.released:
        await site.spool.release(written.released)
    if policy.ack:
        await _acknowledge(site, change, written, policy, candidates)
    site.note_debts()
    return written


async def acknowledge_again(site: Site, bucket: str, key: str, version: Version) -> None:
    """A write is repeated that made this version: return when the write itself would. Raises ServiceUnavailable."""
    policy = site.redundancy(bucket)
    if policy.ack:
        candidates = sorted(policy.grids, key=lambda number: not _is_up(site, number))
        change = NewVersion(
            bucket, key, version.size, version.etag, version.modified_ms, version.facts, policy.grids,
            holder=site.new_holder(),
        )  # fmt: skip
        await _acknowledge(site, change, Written(version.seq, (), ()), policy, candidates)


async def _put(site: Site, change: NewVersion) -> Written:
    try:
        return await site.index.put(change)
    except S3Error:
        # The index refused: nothing refers to the files. After any other failure it may, and the sweep decides.
        await site.spool.release([file.id for file in change.spool])
        raise


def _claiming(site: Site, version: NewVersion, policy: Redundancy, claims: tuple[int, ...]) -> NewVersion:
    until_ms = site.clock.now_ms() + int(LEASE_S * 1000)
    return replace(version, holder=site.new_holder(), claims=claims, lease_until_ms=until_ms)


async def _acknowledge(
    site: Site, change: NewVersion, written: Written, policy: Redundancy, candidates: list[int]
) -> None:
    """Publish until `ack` grids hold the version: first to as many as needed, then to others in place of those that failed."""
    outcomes: dict[int, str] = {}
    while candidates and not enough(policy.ack, outcomes):
        missing = policy.ack - sum(outcome == "held" for outcome in outcomes.values())
        chosen, candidates = candidates[:missing], candidates[missing:]
        async with asyncio.TaskGroup() as group:
            for number in chosen:
                group.create_task(_hold(site, change, written, number, policy, outcomes))
    if enough(policy.ack, outcomes) or policy.accept_outage:
        return
    missed = QuorumMissed(policy.ack, {_name(site, number): outcome for number, outcome in outcomes.items()})
    raise _outage(str(missed)) from missed


async def _hold(
    site: Site, change: NewVersion, written: Written, number: int, policy: Redundancy, outcomes: dict[int, str]
) -> None:
    """Make one grid hold the version, or see it held by whoever pays there now; then note the outcome."""
    if policy.accept_outage and not _is_up(site, number):
        outcomes[number] = "down"
        return
    debt = _own_debt(site, change, written, number) if number in written.claimed else None
    deadline_s = site.clock.monotonic_s() + ACK_WAIT_S
    while debt is None:
        if number not in await site.index.debt_of(change.bucket, change.key):
            outcomes[number] = await _found(site, change, number)
            return
        if site.clock.monotonic_s() > deadline_s:
            outcomes[number] = "busy"
            return
        debt = await _claim(site, change, number)
        if debt is None:
            await site.clock.sleep(ACK_POLL_S)
    outcome = await pay(site, debt)
    if isinstance(outcome, Payment):
        settled = await site.index.settle([outcome])
        await site.spool.release(settled.released)
        outcomes[number] = "held"
    else:
        await site.index.postpone([outcome])
        outcomes[number] = outcome.reason


async def _found(site: Site, change: NewVersion, number: int) -> str:
    """The outcome at a grid that is not owed the key: it holds what is current, unless it was replaced meanwhile."""
    version = await site.index.get(change.bucket, change.key)
    if version is None or any(copy.grid == number for copy in version.copies):
        return "held"
    return "it was replaced"


def _own_debt(site: Site, change: NewVersion, written: Written, number: int) -> Debt:
    """The debt that our own commit recorded and claimed."""
    version = Version(
        written.seq, change.size, change.etag, change.modified_ms, change.facts, (), change.crc, change.inline,
        bool(change.spool),
    )  # fmt: skip
    policy = site.policy_of(change.bucket)
    return Debt(number, change.bucket, change.key, written.seq, change.modified_ms, 0, change.holder, policy, version)


async def _claim(site: Site, change: NewVersion, number: int) -> Debt | None:
    now_ms = site.clock.now_ms()
    return await site.index.claim_key(
        number,
        change.bucket,
        change.key,
        holder=change.holder,
        now_ms=now_ms,
        lease_until_ms=now_ms + int(LEASE_S * 1000),
    )


def _name(site: Site, number: int) -> str:
    seat = site.seat(number)
    return seat.name if seat is not None else f"#{number}"
