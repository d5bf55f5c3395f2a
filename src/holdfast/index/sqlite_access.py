"""Identities in SQLite: rows of `account`, `member`, `membership`, `access_key` and `attached`.

Answers for what `Identities` promises. Changes are functions over a `Batch`. Invariant: every change moves `total.access`, by which each
process knows that what it remembers is old.
"""

from collections.abc import Callable
from typing import Any, TypeVar

import apsw

from holdfast.errors import S3Error
from holdfast.index.sqlite_batch import Batch
from holdfast.index.sqlite_commit import Committer
from holdfast.index.sqlite_open import unavailable
from holdfast.limits import IDENTITIES_KNOWN, KEYS_PER_USER
from holdfast.s3.identities import OWNER_ID, AccessKey, Account, Identity, Kind, Member, Who

T = TypeVar("T")

_ACCOUNT = "id, number, name, email, created_ms"
_MEMBER = "id, account, kind, name, created_ms, trust"
_KEY = "id, account, member, secret, enabled, created_ms"
_POLICIES = """
    SELECT name, document FROM attached WHERE member = ?1
    UNION ALL
    SELECT grouped.name || '/' || attached.name, document FROM membership
    JOIN member AS grouped ON grouped.id = membership.grp JOIN attached ON attached.member = grouped.id
    WHERE membership.user = ?1 ORDER BY 1
"""


class SqliteIdentities:
    """See `Identities`."""

    def __init__(self, reader: apsw.Connection, committer: Committer) -> None:
        self._reader = reader
        self._point = reader.cursor().execute
        self._committer = committer
        self._known: dict[tuple[str, ...], Any] = {}
        self._changes = -1
        """Up to which change `_known` was read."""

    # --- questions of requests ---

    def by_key(self, access_key: str) -> Identity | None:
        return self._remembered(("key", access_key), lambda: self._read_key(access_key))

    def by_id(self, account: str, member: str) -> Identity | None:
        return self._remembered(("id", account, member), lambda: self._read_identity(account, member, None))

    def by_name(self, number: str, kind: Kind, name: str) -> Identity | None:
        return self._remembered(("name", number, kind.value, name), lambda: self._read_named(number, kind, name))

    def account(self, text: str) -> Account | None:
        return self._remembered(("account", text), lambda: self._read_account(text)) if text else None

    def _remembered(self, question: tuple[str, ...], read: Callable[[], T | None]) -> T | None:
        try:
            changes = self._point("SELECT access FROM total").get
            if changes != self._changes or len(self._known) >= IDENTITIES_KNOWN:
                self._known.clear()
                self._changes = changes
            if question in self._known:
                answer: T | None = self._known[question]
                return answer
            answer = read()
        except apsw.Error as trouble:
            raise unavailable(trouble) from trouble
        self._known[question] = answer
        return answer

    def _read_account(self, text: str) -> Account | None:
        rows: list[tuple[Any, ...]] = self._reader.execute(
            f"SELECT {_ACCOUNT} FROM account WHERE id = ?1 OR number = ?1 OR email = ?1 OR name = ?1"
            " ORDER BY id = ?1 DESC, number = ?1 DESC, email = ?1 DESC LIMIT 1",
            (text,),
        ).fetchall()
        return Account(*rows[0]) if rows else None

    def _read_key(self, access_key: str) -> Identity | None:
        rows = self._reader.execute(f"SELECT {_KEY} FROM access_key WHERE id = ?", (access_key,)).fetchall()
        if not rows:
            return None
        key = _key(rows[0])
        return self._read_identity(key.account, key.member, key)

    def _read_identity(self, account_id: str, member_id: str, key: AccessKey | None) -> Identity | None:
        account = self._read_account(account_id)
        if account is None or account.id != account_id:
            return None
        if not member_id:
            return Identity(account, key=key)
        member = self._read_member("account = ? AND id = ?", (account_id, member_id))
        if member is None:
            return None
        policies: list[tuple[Any, ...]] = self._reader.execute(_POLICIES, (member_id,)).fetchall()
        return Identity(account, member, tuple([(name, document) for name, document in policies]), key)

    def _read_named(self, number: str, kind: Kind, name: str) -> Identity | None:
        account = self._read_account(number)
        if account is None or account.number != number:
            return None
        member = self._read_member("account = ? AND kind = ? AND name = ?", (account.id, kind.value, name))
        return None if member is None else self._read_identity(account.id, member.id, None)

    def _read_member(self, where: str, values: tuple[str, ...]) -> Member | None:
        rows = self._reader.execute(f"SELECT {_MEMBER} FROM member WHERE {where}", values).fetchall()
        return _member(rows[0]) if rows else None

    # --- lists ---

    async def accounts(self) -> tuple[Account, ...]:
        rows = self._rows(f"SELECT {_ACCOUNT} FROM account ORDER BY name")
        return tuple([Account(*row) for row in rows])

    async def members(self, account: str, kind: Kind) -> tuple[Who, ...]:
        rows = self._rows(
            f"SELECT {_MEMBER} FROM member WHERE account = ? AND kind = ? ORDER BY name", account, kind.value
        )
        return tuple([await self._who(_member(row)) for row in rows])

    async def _who(self, member: Member) -> Who:
        own, other = ("grp", "user") if member.kind is Kind.GROUP else ("user", "grp")
        groups = self._rows(
            f"SELECT name FROM membership JOIN member ON member.id = {other} WHERE {own} = ? ORDER BY name", member.id
        )
        policies = self._rows("SELECT name FROM attached WHERE member = ? ORDER BY name", member.id)
        keys = await self.keys(member.account, member.id)
        return Who(member, tuple([row[0] for row in groups]), tuple([row[0] for row in policies]), keys)

    async def keys(self, account: str, member: str) -> tuple[AccessKey, ...]:
        rows = self._rows(
            f"SELECT {_KEY} FROM access_key WHERE account = ? AND member = ? ORDER BY created_ms, id", account, member
        )
        return tuple([_key(row) for row in rows])

    async def document(self, member: str, name: str) -> str:
        rows = self._rows("SELECT document FROM attached WHERE member = ? AND name = ?", member, name)
        if not rows:
            raise missing(f"the policy {name}")
        found: str = rows[0][0]
        return found

    def _rows(self, statement: str, *values: str) -> list[tuple[Any, ...]]:
        try:
            rows: list[tuple[Any, ...]] = self._reader.execute(statement, values).fetchall()
        except apsw.Error as trouble:
            raise unavailable(trouble) from trouble
        return rows

    # --- changes ---

    async def add_account(self, account: Account) -> None:
        await self._committer.submit(_add_account, account)

    async def change_account(self, account: Account) -> None:
        await self._committer.submit(_change_account, account)

    async def remove_account(self, account: str) -> None:
        await self._committer.submit(_remove_account, account)

    async def add_member(self, member: Member) -> None:
        await self._committer.submit(_add_member, member)

    async def trust(self, role: str, document: str) -> None:
        await self._committer.submit(
            _change, f"the role {role}", "UPDATE member SET trust = ? WHERE id = ?", (document, role)
        )

    async def remove_member(self, member: str) -> None:
        await self._committer.submit(_remove_member, member)

    async def join(self, group: str, user: str, *, joined: bool) -> None:
        await self._committer.submit(_join, group, user, joined)

    async def add_key(self, key: AccessKey) -> None:
        await self._committer.submit(_add_key, key)

    async def enable_key(self, access_key: str, *, enabled: bool) -> None:
        await self._committer.submit(
            _change,
            f"the key {access_key}",
            "UPDATE access_key SET enabled = ? WHERE id = ?",
            (int(enabled), access_key),
        )

    async def remove_key(self, access_key: str) -> None:
        await self._committer.submit(
            _change, f"the key {access_key}", "DELETE FROM access_key WHERE id = ?", (access_key,)
        )

    async def attach(self, member: str, name: str, document: str | None) -> None:
        await self._committer.submit(_attach, member, name, document)


def missing(what: str) -> S3Error:
    return S3Error("NoSuchEntity", f"{what} does not exist.")


def _taken(what: str) -> S3Error:
    return S3Error("EntityAlreadyExists", f"{what} exists already.")


def _member(row: tuple[Any, ...]) -> Member:
    number, account, kind, name, created_ms, trust = row
    return Member(number, account, Kind(kind), name, created_ms, trust)


def _key(row: tuple[Any, ...]) -> AccessKey:
    number, account, member, secret, enabled, created_ms = row
    return AccessKey(number, account, member, secret, bool(enabled), created_ms)


def _moved(batch: Batch) -> None:
    batch.execute("UPDATE total SET access = access + 1")


def _there(batch: Batch, statement: str, *values: object) -> bool:
    return batch.execute(statement, values).get is not None


def _add_account(batch: Batch, account: Account) -> None:
    _check_names(batch, account)
    if _there(batch, "SELECT 1 FROM account WHERE id = ? OR number = ?", account.id, account.number):
        raise _taken("An account with this canonical id or number")
    batch.execute(
        f"INSERT INTO account ({_ACCOUNT}) VALUES (?, ?, ?, ?, ?)",
        (account.id, account.number, account.name, account.email, account.created_ms),
    )
    _moved(batch)


def _check_names(batch: Batch, account: Account) -> None:
    if _there(batch, "SELECT 1 FROM account WHERE name = ? AND id != ?", account.name, account.id):
        raise _taken(f"An account with the name {account.name}")
    if account.email and _there(batch, "SELECT 1 FROM account WHERE email = ? AND id != ?", account.email, account.id):
        raise _taken(f"An account with the address {account.email}")


def _change_account(batch: Batch, account: Account) -> None:
    _check_names(batch, account)
    if not _there(batch, "SELECT 1 FROM account WHERE id = ?", account.id):
        raise missing(f"The account {account.id}")
    batch.execute("UPDATE account SET name = ?, email = ? WHERE id = ?", (account.name, account.email, account.id))
    _moved(batch)


def _remove_account(batch: Batch, account: str) -> None:
    if account == OWNER_ID:
        raise S3Error("DeleteConflict", "The root account is the one of the configured key pair: it stays.")
    if not _there(batch, "SELECT 1 FROM account WHERE id = ?", account):
        raise missing(f"The account {account}")
    if _there(batch, "SELECT 1 FROM bucket WHERE owner = ? AND deleted_ms IS NULL LIMIT 1", account):
        raise S3Error("DeleteConflict", "The account owns buckets. Delete them first.")
    for (member,) in batch.execute("SELECT id FROM member WHERE account = ?", (account,)).fetchall():
        _forget(batch, member)
    batch.execute("DELETE FROM access_key WHERE account = ?", (account,))
    batch.execute("DELETE FROM account WHERE id = ?", (account,))
    _moved(batch)


def _add_member(batch: Batch, member: Member) -> None:
    if not _there(batch, "SELECT 1 FROM account WHERE id = ?", member.account):
        raise missing(f"The account {member.account}")
    if _there(
        batch,
        "SELECT 1 FROM member WHERE id = ? OR (account = ? AND kind = ? AND name = ?)",
        member.id,
        member.account,
        member.kind.value,
        member.name,
    ):
        raise _taken(f"The {member.kind.value} {member.name}")
    batch.execute(
        f"INSERT INTO member ({_MEMBER}) VALUES (?, ?, ?, ?, ?, ?)",
        (member.id, member.account, member.kind.value, member.name, member.created_ms, member.trust),
    )
    _moved(batch)


def _remove_member(batch: Batch, member: str) -> None:
    if not _there(batch, "SELECT 1 FROM member WHERE id = ?", member):
        raise missing(member)
    _forget(batch, member)
    _moved(batch)


def _forget(batch: Batch, member: str) -> None:
    batch.execute("DELETE FROM attached WHERE member = ?", (member,))
    batch.execute("DELETE FROM membership WHERE user = ?1 OR grp = ?1", (member,))
    batch.execute("DELETE FROM access_key WHERE member = ?", (member,))
    batch.execute("DELETE FROM member WHERE id = ?", (member,))


def _join(batch: Batch, group: str, user: str, joined: bool) -> None:
    for member, kind in ((group, Kind.GROUP), (user, Kind.USER)):
        if not _there(batch, "SELECT 1 FROM member WHERE id = ? AND kind = ?", member, kind.value):
            raise missing(f"The {kind.value} {member}")
    if joined:
        batch.execute("INSERT OR IGNORE INTO membership (grp, user) VALUES (?, ?)", (group, user))
    else:
        batch.execute("DELETE FROM membership WHERE grp = ? AND user = ?", (group, user))
    _moved(batch)


def _add_key(batch: Batch, key: AccessKey) -> None:
    if _there(batch, "SELECT 1 FROM access_key WHERE id = ?", key.id):
        raise _taken(f"The access key {key.id}")
    if key.member and not _there(
        batch, "SELECT 1 FROM member WHERE id = ? AND account = ? AND kind = 'user'", key.member, key.account
    ):
        raise missing(f"The user {key.member}")
    if not _there(batch, "SELECT 1 FROM account WHERE id = ?", key.account):
        raise missing(f"The account {key.account}")
    count: int = batch.execute(
        "SELECT count(*) FROM access_key WHERE account = ? AND member = ?", (key.account, key.member)
    ).get
    if count >= KEYS_PER_USER:
        raise S3Error("LimitExceeded", f"There are {KEYS_PER_USER} access keys already. Remove one first.")
    batch.execute(
        f"INSERT INTO access_key ({_KEY}) VALUES (?, ?, ?, ?, ?, ?)",
        (key.id, key.account, key.member, key.secret, int(key.enabled), key.created_ms),
    )
    _moved(batch)


def _attach(batch: Batch, member: str, name: str, document: str | None) -> None:
    if not _there(batch, "SELECT 1 FROM member WHERE id = ?", member):
        raise missing(member)
    if document is None:
        if not _there(batch, "SELECT 1 FROM attached WHERE member = ? AND name = ?", member, name):
            raise missing(f"The policy {name}")
        batch.execute("DELETE FROM attached WHERE member = ? AND name = ?", (member, name))
    else:
        batch.execute(
            "INSERT OR REPLACE INTO attached (member, name, document) VALUES (?, ?, ?)", (member, name, document)
        )
    _moved(batch)


def _change(batch: Batch, what: str, statement: str, values: tuple[object, ...]) -> None:
    before = batch.connection.total_changes()
    batch.execute(statement, values)
    if batch.connection.total_changes() == before:
        raise missing(what)
    _moved(batch)
