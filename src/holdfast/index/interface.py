"""`Index`: the durable truth, as one interface.

Answers for: which version of a key is current, what it looks like, which grids hold it, what is owed, and
which bytes are in the spool. It never touches bodies outside small inline ones, and never a grid.
Invariant: when a changing method returns, the change is durable (fsynced) and every later read on
any node sees it; when it raises, nothing changed, except that a commit whose answer was lost
raises `CommitUnknown`.

Methods are async for the engines that wait; the SQLite engine answers point reads without waiting.
S3 preconditions are evaluated inside the transaction; they raise `S3Error`.
"""

import enum
from collections.abc import Sequence
from typing import Final, Protocol

from holdfast.index.identities import Identities
from holdfast.index.notices import Notices
from holdfast.model import (
    ALWAYS,
    UNMARKED,
    Bucket,
    Facts,
    Layout,
    MarkChange,
    Marks,
    Part,
    Value,
    Version,
    WriteCondition,
)
from holdfast.s3 import DeleteAsk, Page, Upload, UploadsPage
from holdfast.s3.notification import Notice
from holdfast.s3.versioning import VersionsPage

SEVERAL: Final = -1
"""In place of a sequence number: more than one change is in doubt."""


class CommitUnknown(Exception):
    """The commit was sent and its answer was lost: it may or may not have happened."""


class SpoolFile(Value, frozen=True):
    """A spool file that a change refers to."""

    id: str
    size: int


class NewVersion(Value, frozen=True):
    """A version to become current. Small bodies come `inline` with their `crc`, others with a `layout`
    and its spool files."""

    bucket: str
    key: str
    size: int
    etag: str
    modified_ms: int
    facts: Facts
    owes: tuple[int, ...]
    """Grids of the policy: each is recorded as a debt."""
    inline: bytes | None = None
    crc: int | None = None
    layout: Layout | None = None
    spool: tuple[SpoolFile, ...] = ()
    seq: int = 0
    """A number that was reserved for it: it gets this one unless the key has changed since."""
    condition: WriteCondition = ALWAYS
    holder: str = ""
    claims: tuple[int, ...] = ()
    """Of these grids, the debts on which no lease runs are claimed for `holder` in the same commit."""
    lease_until_ms: int = 0
    marks: Marks = UNMARKED
    notices: tuple[Notice, ...] = ()
    """Events that are recorded with it."""


class Written(Value, frozen=True):
    """A committed version."""

    seq: int
    claimed: tuple[int, ...]
    """Grids whose debts `holder` now has."""
    released: tuple[str, ...]
    """Spool files of the replaced version: nobody needs them any more, unlink them."""
    doubts: dict[int, int] = {}
    """Of the claimed, the grids where an earlier change is in doubt, and since when (ms)."""
    version_id: str = ""
    """Empty in a bucket that never kept versions."""
    guests: dict[int, str] = {}
    """Of the claimed, the grids where a copy of an older version lies under the key, and where that belongs."""


class Deleted(Value, frozen=True):
    """What became of one key of a deletion: gone (or it never was there), or refused."""

    existed: bool
    code: str = ""
    """S3 error code when a condition or a lock refused it, else empty."""
    version_id: str = ""
    """What was deleted, or the delete marker that was made; empty in a bucket that never kept versions."""
    marker: bool = False
    """A delete marker was made, or deleted."""


class Debt(Value, frozen=True):
    """A claimed debt: this grid must match the index for this key. `version` is the current
    version, or None when the key must not be there."""

    grid: int
    bucket: str
    key: str
    seq: int
    """The change that was current when the debt was claimed."""
    since_ms: int
    attempts: int
    holder: str
    policy: str
    """Name of the bucket's policy."""
    version: Version | None
    doubt_ms: int = 0
    """When an earlier change of this key at this grid was given up, or its payer died, without knowing whether it
    happened: it may have, and it may yet. 0: there is none."""
    doubt_seq: int = 0
    """The change that is in doubt; SEVERAL when there is more than one."""
    guest: str = ""
    """The key of a version whose copy lies under this key at the grid, and belongs under that one: it goes there first."""
    suspect: bool = False
    """It is owed because this grid's copy was found to be wrong, and nobody has tried to pay it yet."""


class Pick(enum.Enum):
    """Which due debts are claimed first. Small ones are those of at most one block, and deletions."""

    ANY = enum.auto()
    """The soonest due, of whatever size."""
    NEWEST = enum.auto()
    """Small ones, the latest due: what was just written is what is asked for."""
    OLDEST = enum.auto()
    """Small ones, the soonest due: nothing waits for ever."""
    LARGE = enum.auto()
    """Large ones, the soonest due."""


class Stuck(Value, frozen=True):
    """A debt that was tried in vain again and again, and why the last attempt failed."""

    grid: int
    bucket: str
    key: str
    size: int
    since_ms: int
    attempts: int
    reason: str


class Payment(Value, frozen=True):
    """A claimed debt was paid: `etag` is the grid's etag of the copy, None when nothing is there now."""

    debt: Debt
    etag: str | None
    wanted: tuple[int, ...] | None = None
    """Grids of the policy: the others are only owed an absence, and need no bytes. None when every debt counts."""


class Delay(Value, frozen=True):
    """A claimed debt could not be paid: free it, to be claimed again from `due_ms` on."""

    debt: Debt
    due_ms: int
    reason: str
    counts: bool = True
    """False gives the debt back without counting an attempt."""
    doubt: bool = False
    """The grid may have acted, or may yet: the debt remembers since when."""
    holds: bool = False
    """The grid holds the version; only the doubt about an earlier change keeps the debt."""
    silent: bool = False
    """The grid itself was silent, or said that it is asked too much."""


class Settled(Value, frozen=True):
    """What a settlement freed."""

    paid: int
    released: tuple[str, ...]
    """Spool files that nobody needs any more."""


class Reconciled(Value, frozen=True):
    """How far a walk along a bucket came."""

    last: str
    """The last key looked at, empty at the end of the bucket."""
    released: tuple[str, ...]
    """Spool files that nobody needs any more."""


class GridSums(Value, frozen=True):
    """What one grid holds and is owed."""

    grid: int
    held: int
    """Copies of current versions that it is known to hold."""
    held_bytes: int
    debts: int
    debt_bytes: int
    oldest_ms: int
    """When the oldest debt arose; 0 when there is none."""
    paid: int
    """Debts ever settled there: its growth is the rate of catch-up."""
    paid_bytes: int = 0
    stuck: int = 0
    """Debts that were tried STUCK_ATTEMPTS times or more in vain."""


class GridRow(Value, frozen=True):
    """A grid as the index knows it. A replaced place gets a new row, and so holds nothing."""

    id: int
    name: str
    identity: str
    url: str
    retired: bool


class Usage(Value, frozen=True):
    """Sums that the index keeps up to date."""

    objects: int
    object_bytes: int
    inline_bytes: int
    spool_bytes: int
    debts: int
    tombstones: int
    uploads: int


class Index(Notices, Protocol):
    """See the module. All times are milliseconds of the wall clock."""

    identities: Identities
    """Who there is; at hand once it is open."""

    # --- life ---

    async def open(self) -> None:
        """Create or migrate the schema, step by numbered step, and be ready. Raises ConfigError."""
        ...

    async def close(self) -> None:
        """Finish what was accepted, then let go. Later calls raise."""
        ...

    async def check(self) -> None:
        """Raise unless reads and commits work now (for readiness)."""
        ...

    # --- buckets ---

    async def create_bucket(self, bucket: Bucket) -> None:
        """With its settings. Raises BucketAlreadyOwnedByYou, or BucketAlreadyExists when it is another account's."""
        ...

    async def delete_bucket(self, name: str) -> tuple[str, ...]:
        """Uploads in progress there are aborted; their spool files are released and returned. Raises NoSuchBucket,
        BucketNotEmpty (objects are in it)."""
        ...

    async def bucket(self, name: str) -> Bucket:
        """With its settings. Cheap enough for every request. Raises NoSuchBucket."""
        ...

    def remembered(self, name: str) -> Bucket | None:
        """A bucket as this process read it last; None when it remembers none. After `get`, which notices every change, it is the very
        bucket that `get` found, or another value."""
        ...

    async def configure(self, bucket: str, name: str, value: bytes | None, *, notices: Sequence[Notice] = ()) -> None:
        """Set one of a bucket's settings, or take it away with None; the notices are recorded with it. Raises NoSuchBucket."""
        ...

    async def configured(self, name: str) -> tuple[str, ...]:
        """Names of the buckets that have this setting, in byte order."""
        ...

    async def buckets(
        self, *, prefix: str = "", after: str = "", limit: int | None = None, owner: str = ""
    ) -> tuple[Bucket, ...]:
        """In byte order of their names, without their settings; with an `owner` those of that account."""
        ...

    # --- objects ---

    async def get(self, bucket: str, key: str) -> Version | None:
        """The current version, with its inline body when the index has it. Raises NoSuchBucket."""
        ...

    async def layout(self, seq: int) -> Layout | None:
        """Of a version that has one; None when that version is gone (overwritten meanwhile)."""
        ...

    async def reserve(self) -> int:
        """A sequence number for a version that is not here yet. A number that is never used is never given again."""
        ...

    async def put(self, change: NewVersion) -> Written:
        """Commit a version, its debts and its spool files. Raises NoSuchBucket, PreconditionFailed,
        NoSuchKey (If-Match where nothing is)."""
        ...

    async def delete(
        self, bucket: str, asks: Sequence[DeleteAsk], *, now_ms: int, owes: tuple[int, ...]
    ) -> tuple[tuple[Deleted, ...], tuple[str, ...]]:
        """Delete keys in one commit: tombstones, and a debt for every grid of `owes`, and every other grid that holds
        or was owed the key. A key that is not there and was never owed to any grid leaves nothing behind.
        Returns one outcome per ask, and released spool files. Raises NoSuchBucket."""
        ...

    async def mark(
        self, bucket: str, key: str, version_id: str, change: MarkChange, *, notices: Sequence[Notice] = ()
    ) -> Version:
        """Change the marks of a version (the current one where `version_id` is empty), and record the notices with it; returns it
        with its new marks. Raises NoSuchBucket, NoSuchKey, NoSuchVersion."""
        ...

    async def version(self, bucket: str, key: str, version_id: str) -> Version | None:
        """One version or delete marker by its id, with its inline body when the index has it; without an id what is the latest.
        One that is not current has its `home`. None when there is none. Raises NoSuchBucket."""
        ...

    async def scan_versions(
        self, bucket: str, *, prefix: str, delimiter: str, key_marker: str, version_marker: str, limit: int
    ) -> VersionsPage:
        """Versions and delete markers after the markers, by key and then newest first, without inline bodies; prefixes as in `scan`.
        Raises NoSuchBucket."""
        ...

    async def scan(self, bucket: str, *, prefix: str, delimiter: str, after: str, limit: int) -> Page:
        """Current versions with keys above `after` in UTF-8 byte order, without inline bodies. With a
        delimiter, keys that have it after the prefix are rolled into common prefixes, each reached by one seek; a
        common prefix that equals or sorts before `after` (as `after` begins with it) is not repeated. Raises NoSuchBucket."""
        ...

    # --- multipart uploads ---

    async def create_upload(self, upload: Upload) -> None:
        """Raises NoSuchBucket."""
        ...

    async def upload(self, bucket: str, key: str, upload_id: str) -> Upload:
        """Raises NoSuchBucket, NoSuchUpload."""
        ...

    async def put_part(self, bucket: str, key: str, upload_id: str, part: Part) -> tuple[str, ...]:
        """Record a part (its spool file is `part.spool`), replacing one of the same number. Returns released
        spool files. Raises NoSuchUpload."""
        ...

    async def parts(self, bucket: str, key: str, upload_id: str, *, after: int, limit: int) -> tuple[Part, ...]:
        """In order of number. Raises NoSuchUpload."""
        ...

    async def uploads(
        self, bucket: str, *, prefix: str, delimiter: str, key_marker: str, upload_marker: str, limit: int
    ) -> UploadsPage:
        """In order of key, then of initiation. Raises NoSuchBucket."""
        ...

    async def complete_upload(self, upload_id: str, change: NewVersion) -> Written:
        """`put` of the composed version and the end of the upload in one commit; parts that the version's layout does
        not use are released. Raises NoSuchUpload, InvalidPart when a part was replaced meanwhile, and what `put` raises."""
        ...

    async def abort_upload(self, bucket: str, key: str, upload_id: str) -> tuple[str, ...]:
        """Forget the upload and its parts. Returns released spool files. Raises NoSuchUpload."""
        ...

    async def stale_uploads(self, *, before_ms: int, limit: int) -> tuple[Upload, ...]:
        """Uploads without a new part since `before_ms`."""
        ...

    # --- debts ---

    async def claim(
        self, grid: int, *, holder: str, now_ms: int, lease_until_ms: int, limit: int, pick: Pick = Pick.ANY
    ) -> tuple[Debt, ...]:
        """Take debts of a grid that are due and that nobody has, in the order of `pick`. Durable before it returns.
        Debts come with their current version, inline body included."""
        ...

    async def claim_key(
        self, grid: int, bucket: str, key: str, *, holder: str, now_ms: int, lease_until_ms: int
    ) -> Debt | None:
        """Take one debt whether due or not; None when there is none or a lease of it runs, whosever it is."""
        ...

    async def renew(self, debt: Debt, *, lease_until_ms: int) -> bool:
        """Extend a lease; False when it was lost."""
        ...

    async def settle(self, payments: Sequence[Payment]) -> Settled:
        """Debts were paid. Where the key changed since the claim, the debt stays and is free at once (a copy of
        a version that is no longer current is not recorded). Otherwise the debt goes, the version's
        copies gain or lose the grid. Spool files are released once no grid that is wanted is owed the key and one of
        them holds it (the inline body stays); a tombstone goes once no debt is left. Where the holder lost the lease, nothing changes."""
        ...

    async def postpone(self, delays: Sequence[Delay]) -> None:
        """Debts could not be paid; only the holder's own leases are touched."""
        ...

    async def release_leases(self, holder: str) -> int:
        """Free all debts of a holder and of its requests, whose names begin with `holder#`: at its orderly stop, or when it
        is certainly dead. Returns how many."""
        ...

    async def suspect(self, bucket: str, key: str, seq: int, grid: int, *, now_ms: int) -> bool:
        """The copy of this version on this grid is missing or wrong: it is no longer held, and owed again.
        False when the version is no longer current or the copy was not held."""
        ...

    async def debt_of(self, bucket: str, key: str) -> tuple[int, ...]:
        """Grids that are owed this key."""
        ...

    async def sums(self) -> tuple[GridSums, ...]:
        """One row per grid that is not retired. Kept up to date by each commit, so cheap."""
        ...

    async def stuck(self, grid: int, *, limit: int) -> tuple[Stuck, ...]:
        """Debts of a grid that were tried STUCK_ATTEMPTS times or more in vain."""
        ...

    async def tombstone(self, bucket: str, key: str) -> int | None:
        """The sequence number of the deletion that not every grid has confirmed; None when there is none."""
        ...

    # --- grids and policies ---

    async def register_grid(self, name: str, identity: str, url: str) -> GridRow:
        """The row of this place: the one with this name and identity, or one of this name whose identity is still empty (it gets
        this one, and keeps its number and debts), or a new one; others of the same name are retired for ever: their copies are
        forgotten, since nothing there can be trusted or reached, and the new place owes the versions that they owed.
        An empty `identity` means that the place was not seen yet: the row of that name, whichever it is."""
        ...

    async def grids(self) -> tuple[GridRow, ...]: ...

    async def reconcile(
        self, bucket: str, *, wanted: tuple[int, ...], after: str, limit: int, now_ms: int
    ) -> Reconciled:
        """Look at up to `limit` keys above `after`: record a debt for each wanted grid that does not hold the version, and for
        each other grid that does; release the spool files of versions that all wanted grids hold."""
        ...

    async def copies(self, bucket: str, *, after: str, limit: int) -> tuple[tuple[str, Version], ...]:
        """All versions in order of the keys under which they are kept, without inline bodies, for scrubbing."""
        ...

    # --- bookkeeping ---

    async def usage(self) -> Usage:
        """Cheap: sums kept up to date by each commit."""
        ...

    async def spooled(self, ids: Sequence[str]) -> frozenset[str]:
        """Which of these spool files some row names."""
        ...

    async def trim_inline(self, keep_bytes: int, *, limit: int, wanted: tuple[int, ...] | None = None) -> int:
        """Drop the oldest inline bodies that no grid is owed, until the sum is at most `keep_bytes` or `limit` bodies were looked
        at. Of grids that are not `wanted` neither debts nor copies count (None: all count). Bodies with a debt or
        without any copy are never dropped. Returns bytes freed."""
        ...

    async def note(self, name: str, value: str) -> None:
        """Remember a small fact (a keeper's cursor, an applied policy)."""
        ...

    async def noted(self, name: str) -> str:
        """The remembered fact, or empty."""
        ...
