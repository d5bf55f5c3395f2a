"""The schema of the SQLite engine, as numbered steps.

Answers for: what the tables look like and how each released form becomes the next. It never runs anything.
Invariant: a step that was released is never edited; the schema's number is the number of steps applied.

Keys are kept as UTF-8 blobs, so that their order is the order of S3 listings. A bucket's number belongs
to its name for ever: debts for objects of a deleted bucket and objects of a later one with the same name
meet in one row, and a number once learnt stays right. `seq` is one sequence for the whole index.
"""

from typing import Final, NamedTuple

APPLICATION_ID: Final = 0x48464958
"""`HFIX`: tells an index from any other SQLite file."""


class Step(NamedTuple):
    """What turns one form of the schema into the next."""

    title: str
    statements: str


STEPS: Final[tuple[Step, ...]] = (
    Step(
        "objects, uploads, debts",
        """
        CREATE TABLE bucket (
            id          INTEGER PRIMARY KEY,
            name        TEXT    NOT NULL UNIQUE,
            created_ms  INTEGER NOT NULL,
            policy      TEXT    NOT NULL,
            owner       TEXT    NOT NULL,
            region      TEXT    NOT NULL,
            deleted_ms  INTEGER             -- set: there is no such bucket, but its name keeps its number
        ) STRICT;

        -- The current version of each key.
        CREATE TABLE object (
            bucket      INTEGER NOT NULL,
            key         BLOB    NOT NULL,
            seq         INTEGER NOT NULL,
            version_id  TEXT    NOT NULL,
            size        INTEGER NOT NULL,
            etag        TEXT    NOT NULL,
            modified_ms INTEGER NOT NULL,
            facts       BLOB    NOT NULL,
            copies      BLOB    NOT NULL,
            crc         INTEGER,
            inline      INTEGER NOT NULL,   -- 1: its bytes are in body
            layout      INTEGER NOT NULL,   -- 1: it has a row in layout
            spool       INTEGER NOT NULL,   -- owner of its spool files, 0 when they are released
            PRIMARY KEY (bucket, key)
        ) STRICT, WITHOUT ROWID;

        CREATE TABLE body (
            seq         INTEGER PRIMARY KEY,
            bucket      INTEGER NOT NULL,
            key         BLOB    NOT NULL,
            data        BLOB    NOT NULL    -- last, so that the columns before it are read without it
        ) STRICT;

        CREATE TABLE layout (
            seq         INTEGER PRIMARY KEY,
            data        BLOB    NOT NULL
        ) STRICT;

        -- Files are owned by the sequence number of a version, or by the number of an upload;
        -- a completed upload's version takes over the upload's number, and no file is touched.
        CREATE TABLE spool (
            id          TEXT    PRIMARY KEY,
            owner       INTEGER NOT NULL,
            size        INTEGER NOT NULL,
            node        TEXT    NOT NULL
        ) STRICT, WITHOUT ROWID;
        CREATE INDEX spool_owner ON spool (owner);

        -- A debt carries the sequence number of its key's current version or tombstone, and moves along when the key
        -- changes: so recent debts lie together, and all debts of a key are found by that number.
        -- due_ms is the moment from which anybody may claim it; while a holder has it, the end of the lease.
        CREATE TABLE debt (
            seq         INTEGER NOT NULL,
            grid        INTEGER NOT NULL,
            bucket      INTEGER NOT NULL,
            key         BLOB    NOT NULL,
            size        INTEGER NOT NULL,
            since_ms    INTEGER NOT NULL,   -- when the oldest unpaid change was made
            due_ms      INTEGER NOT NULL,
            attempts    INTEGER NOT NULL,
            holder      TEXT    NOT NULL,
            next_ms     INTEGER NOT NULL,   -- when the first change after the claim was made, 0: none
            reason      TEXT    NOT NULL,
            PRIMARY KEY (seq, grid)
        ) STRICT, WITHOUT ROWID;
        CREATE INDEX debt_due ON debt (grid, due_ms);
        CREATE INDEX debt_since ON debt (grid, since_ms);

        CREATE TABLE tombstone (
            bucket      INTEGER NOT NULL,
            key         BLOB    NOT NULL,
            seq         INTEGER NOT NULL,
            at_ms       INTEGER NOT NULL,
            PRIMARY KEY (bucket, key)
        ) STRICT, WITHOUT ROWID;

        CREATE TABLE upload (
            number       INTEGER PRIMARY KEY,
            id           TEXT    NOT NULL UNIQUE,
            bucket       INTEGER NOT NULL,
            key          BLOB    NOT NULL,
            initiated_ms INTEGER NOT NULL,
            touched_ms   INTEGER NOT NULL,
            data         BLOB    NOT NULL
        ) STRICT;
        CREATE INDEX upload_order ON upload (bucket, key, initiated_ms, id);
        CREATE INDEX upload_touched ON upload (touched_ms);

        CREATE TABLE part (
            upload      INTEGER NOT NULL,
            number      INTEGER NOT NULL,
            spool       TEXT    NOT NULL,
            data        BLOB    NOT NULL,
            PRIMARY KEY (upload, number)
        ) STRICT, WITHOUT ROWID;

        CREATE TABLE grid (
            id          INTEGER PRIMARY KEY,
            name        TEXT    NOT NULL,
            identity    TEXT    NOT NULL,
            url         TEXT    NOT NULL,
            retired     INTEGER NOT NULL,
            held        INTEGER NOT NULL,
            held_bytes  INTEGER NOT NULL,
            debts       INTEGER NOT NULL,
            debt_bytes  INTEGER NOT NULL,
            paid        INTEGER NOT NULL
        ) STRICT;

        -- One row: the last sequence number, and sums that each commit keeps exact.
        CREATE TABLE total (
            seq          INTEGER NOT NULL,
            objects      INTEGER NOT NULL,
            object_bytes INTEGER NOT NULL,
            inline_bytes INTEGER NOT NULL,
            spool_bytes  INTEGER NOT NULL,
            debts        INTEGER NOT NULL,
            tombstones   INTEGER NOT NULL,
            uploads      INTEGER NOT NULL
        ) STRICT;
        INSERT INTO total VALUES (0, 0, 0, 0, 0, 0, 0, 0);

        CREATE TABLE note (
            name        TEXT    PRIMARY KEY,
            value       TEXT    NOT NULL
        ) STRICT, WITHOUT ROWID;
        """,
    ),
    Step(
        "changes in doubt; small and large debts in orders of their own; debts that are stuck; bytes that were paid",
        """
        -- doubt_ms: when a change of this key at this grid was last given up without knowing whether it happened, 0: never.
        -- doubt_seq: which change; -1 when there is more than one. Both end with the debt.
        ALTER TABLE debt ADD COLUMN doubt_ms INTEGER NOT NULL DEFAULT 0;
        ALTER TABLE debt ADD COLUMN doubt_seq INTEGER NOT NULL DEFAULT 0;
        DROP INDEX debt_due;
        CREATE INDEX debt_order ON debt (grid, size > 1048576, due_ms);
        CREATE INDEX debt_stuck ON debt (grid, seq) WHERE attempts >= 4;
        ALTER TABLE grid ADD COLUMN paid_bytes INTEGER NOT NULL DEFAULT 0;
        """,
    ),
    Step(
        "settings of buckets; marks of versions",
        """
        CREATE TABLE setting (
            bucket      INTEGER NOT NULL,
            name        TEXT    NOT NULL,
            value       BLOB    NOT NULL,
            PRIMARY KEY (bucket, name)
        ) STRICT, WITHOUT ROWID;

        -- How often a bucket or one of its settings was changed: what a process learnt of them holds while this stays.
        ALTER TABLE total ADD COLUMN settings INTEGER NOT NULL DEFAULT 0;

        ALTER TABLE object ADD COLUMN marks BLOB;   -- NULL: it has none
        """,
    ),
    Step(
        "versions that are not current",
        """
        -- Delete markers, and versions that are not current. Their rows in object, their copies and debts have a key of their own.
        CREATE TABLE history (
            bucket      INTEGER NOT NULL,
            key         BLOB    NOT NULL,
            place       INTEGER NOT NULL,   -- its number: the newest has the highest
            version_id  TEXT    NOT NULL,
            marker      INTEGER NOT NULL,
            home        BLOB    NOT NULL,   -- the key of its row in object; empty for a marker
            at_ms       INTEGER NOT NULL,   -- when a marker was made
            since_ms    INTEGER NOT NULL,   -- since when it is not the latest; 0: it is, a marker
            PRIMARY KEY (bucket, key, place)
        ) STRICT, WITHOUT ROWID;

        -- Copies that lie under another key than their version's: whoever changes that key there makes way for them first.
        CREATE TABLE guest (
            bucket      INTEGER NOT NULL,
            key         BLOB    NOT NULL,   -- where it lies
            grid        INTEGER NOT NULL,
            home        BLOB    NOT NULL,   -- where it belongs
            PRIMARY KEY (bucket, key, grid)
        ) STRICT, WITHOUT ROWID;
        """,
    ),
    Step(
        "events that wait to be told to webhooks",
        """
        CREATE TABLE notice (
            number      INTEGER PRIMARY KEY,
            webhook     TEXT    NOT NULL,
            bucket      INTEGER NOT NULL,
            key         BLOB    NOT NULL,
            seq         INTEGER NOT NULL,   -- of the change that it tells of
            version_id  TEXT    NOT NULL,
            since_ms    INTEGER NOT NULL,
            due_ms      INTEGER NOT NULL,
            attempts    INTEGER NOT NULL,
            data        BLOB    NOT NULL
        ) STRICT;
        CREATE INDEX notice_due ON notice (webhook, due_ms, number);
        CREATE INDEX notice_key ON notice (webhook, bucket, key, number);
        CREATE TABLE webhook (
            name        TEXT    PRIMARY KEY,
            waiting     INTEGER NOT NULL,   -- its rows in notice
            dropped     INTEGER NOT NULL    -- events that found too many waiting, until somebody tells it
        ) STRICT, WITHOUT ROWID;
        """,
    ),
    Step(
        "accounts, users, groups, roles; their keys and policies",
        """
        CREATE TABLE account (
            id          TEXT    PRIMARY KEY,        -- canonical id
            number      TEXT    NOT NULL UNIQUE,
            name        TEXT    NOT NULL UNIQUE,
            email       TEXT    NOT NULL,           -- empty: none
            created_ms  INTEGER NOT NULL
        ) STRICT, WITHOUT ROWID;
        CREATE UNIQUE INDEX account_email ON account (email) WHERE email != '';
        INSERT INTO account VALUES
            ('5d8f6c1e0b7a49d3a2f4c68e91b03d7754e6a8c2f019bd3e7c5a60f48d12e9b7', '000000000000', 'holdfast', '', 0);

        CREATE TABLE member (
            id          TEXT    PRIMARY KEY,
            account     TEXT    NOT NULL,
            kind        TEXT    NOT NULL,           -- user, group or role
            name        TEXT    NOT NULL,
            created_ms  INTEGER NOT NULL,
            trust       TEXT    NOT NULL,           -- of a role: who may assume it
            UNIQUE (account, kind, name)
        ) STRICT, WITHOUT ROWID;

        CREATE TABLE membership (
            user        TEXT    NOT NULL,
            grp         TEXT    NOT NULL,
            PRIMARY KEY (user, grp)
        ) STRICT, WITHOUT ROWID;

        CREATE TABLE access_key (
            id          TEXT    PRIMARY KEY,
            account     TEXT    NOT NULL,
            member      TEXT    NOT NULL,           -- empty: the account's owner
            secret      BLOB    NOT NULL,           -- sealed
            enabled     INTEGER NOT NULL,
            created_ms  INTEGER NOT NULL
        ) STRICT, WITHOUT ROWID;
        CREATE INDEX access_key_of ON access_key (account, member);

        CREATE TABLE attached (
            member      TEXT    NOT NULL,
            name        TEXT    NOT NULL,
            document    TEXT    NOT NULL,
            PRIMARY KEY (member, name)
        ) STRICT, WITHOUT ROWID;

        -- How often one of these was changed: what a process learnt of them holds while this stays.
        ALTER TABLE total ADD COLUMN access INTEGER NOT NULL DEFAULT 0;
        """,
    ),
)
