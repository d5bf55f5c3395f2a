"""What every engine promises of accounts, users, groups, roles, keys and policies."""

from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from holdfast.clock import SystemClock
from holdfast.errors import S3Error
from holdfast.events import Teller
from holdfast.index.identities import Identities
from holdfast.index.sqlite import SqliteIndex
from holdfast.limits import KEYS_PER_USER
from holdfast.model import Bucket
from holdfast.s3.identities import OWNER_ID, ROOT, AccessKey, Account, Kind, Member
from holdfast.testing.rawhttp import run

ALT = Account("a" * 64, "111122223333", "alt", "alt@example.net", 1)
ALICE = Member("AIDALICE", OWNER_ID, Kind.USER, "alice", 1)
STAFF = Member("AGPASTAFF", OWNER_ID, Kind.GROUP, "staff", 1)
READER = Member("AROAREADER", ALT.id, Kind.ROLE, "reader", 1, '{"trust": 1}')
KEY = AccessKey("AKIDALICE", OWNER_ID, ALICE.id, b"sealed", created_ms=1)


def _index(folder: Path) -> SqliteIndex:
    return SqliteIndex(folder / "index.db", clock=SystemClock(), teller=Teller(), node="test")


def with_two(tmp_path: Path, body: Callable[[SqliteIndex, Identities], Coroutine[Any, Any, None]]) -> None:
    """Run `body` with an index, and the identities as another process sees them."""

    async def main() -> None:
        one, other = _index(tmp_path), _index(tmp_path)
        await one.open()
        await other.open()
        try:
            await body(one, other.identities)
        finally:
            await other.close()
            await one.close()

    run(main())


def refused(code: str) -> "pytest.RaisesExc[S3Error]":
    return pytest.raises(S3Error, match=rf"^{code}: ")


def test_the_root_account_is_there_from_the_beginning(tmp_path: Path) -> None:
    async def body(index: SqliteIndex, seen: Identities) -> None:
        for text in (OWNER_ID, ROOT.number, ROOT.name):
            assert seen.account(text) == ROOT
        assert seen.account("") is None and seen.account("nobody") is None
        assert await seen.accounts() == (ROOT,)
        with refused("DeleteConflict"):
            await index.identities.remove_account(OWNER_ID)
        await index.identities.change_account(Account(OWNER_ID, ROOT.number, "boss", "boss@example.net"))
        found = seen.account("boss@example.net")
        assert found is not None and (found.id, found.name) == (OWNER_ID, "boss")

    with_two(tmp_path, body)


def test_every_change_is_seen_by_another_process_with_its_next_question(tmp_path: Path) -> None:
    async def body(index: SqliteIndex, seen: Identities) -> None:
        mine = index.identities
        assert seen.by_key(KEY.id) is None
        await mine.add_member(ALICE)
        await mine.add_key(KEY)
        found = seen.by_key(KEY.id)
        assert found is not None and (found.member, found.key, found.policies) == (ALICE, KEY, ())
        assert seen.by_key(KEY.id) is found, "remembered"
        await mine.attach(ALICE.id, "own", "{1}")
        await mine.add_member(STAFF)
        await mine.attach(STAFF.id, "theirs", "{2}")
        await mine.join(STAFF.id, ALICE.id, joined=True)
        found = seen.by_key(KEY.id)
        assert found is not None and found.policies == (("own", "{1}"), ("staff/theirs", "{2}"))
        assert seen.by_name(ROOT.number, Kind.USER, "alice") == seen.by_id(OWNER_ID, ALICE.id)
        await mine.join(STAFF.id, ALICE.id, joined=False)
        await mine.attach(ALICE.id, "own", None)
        await mine.enable_key(KEY.id, enabled=False)
        found = seen.by_key(KEY.id)
        assert found is not None and found.policies == () and found.key is not None and not found.key.enabled
        await mine.remove_member(ALICE.id)
        assert seen.by_key(KEY.id) is None and seen.by_id(OWNER_ID, ALICE.id) is None

    with_two(tmp_path, body)


def test_lists_show_what_belongs_to_whom(tmp_path: Path) -> None:
    async def body(index: SqliteIndex, seen: Identities) -> None:
        mine = index.identities
        for member in (ALICE, STAFF):
            await mine.add_member(member)
        await mine.join(STAFF.id, ALICE.id, joined=True)
        await mine.add_key(KEY)
        await mine.attach(ALICE.id, "own", "{}")
        (alice,) = await seen.members(OWNER_ID, Kind.USER)
        assert (alice.member, alice.groups, alice.policies, alice.keys) == (ALICE, ("staff",), ("own",), (KEY,))
        (staff,) = await seen.members(OWNER_ID, Kind.GROUP)
        assert (staff.member, staff.groups, staff.keys) == (STAFF, ("alice",), ())
        assert await seen.document(ALICE.id, "own") == "{}"
        with refused("NoSuchEntity"):
            await seen.document(ALICE.id, "other")

    with_two(tmp_path, body)


def test_roles_are_found_by_name_and_trust_whom_they_are_told_to(tmp_path: Path) -> None:
    async def body(index: SqliteIndex, seen: Identities) -> None:
        await index.identities.add_account(ALT)
        await index.identities.add_member(READER)
        found = seen.by_name(ALT.number, Kind.ROLE, "reader")
        assert found is not None and found.member == READER and found.account == ALT
        assert seen.by_name(ROOT.number, Kind.ROLE, "reader") is None
        await index.identities.trust(READER.id, "{}")
        found = seen.by_name(ALT.number, Kind.ROLE, "reader")
        assert found is not None and found.member is not None and found.member.trust == "{}"

    with_two(tmp_path, body)


def test_names_numbers_addresses_and_keys_are_given_once(tmp_path: Path) -> None:
    async def body(index: SqliteIndex, seen: Identities) -> None:
        mine = index.identities
        await mine.add_account(ALT)
        for again in (
            Account(ALT.id, "1" * 12, "x"),
            Account("b", ALT.number, "x"),
            Account("b", "1" * 12, ALT.name),
            Account("b", "1" * 12, "x", ALT.email),
        ):
            with refused("EntityAlreadyExists"):
                await mine.add_account(again)
        await mine.add_member(ALICE)
        with refused("EntityAlreadyExists"):
            await mine.add_member(Member("AIDB", OWNER_ID, Kind.USER, "alice"))
        await mine.add_key(KEY)
        with refused("EntityAlreadyExists"):
            await mine.add_key(KEY)
        for number in range(1, KEYS_PER_USER):
            await mine.add_key(AccessKey(f"AKID{number}", OWNER_ID, ALICE.id, b""))
        with refused("LimitExceeded"):
            await mine.add_key(AccessKey("AKIDMORE", OWNER_ID, ALICE.id, b""))

    with_two(tmp_path, body)


def test_who_is_not_there_gets_nothing(tmp_path: Path) -> None:
    async def body(index: SqliteIndex, seen: Identities) -> None:
        mine = index.identities
        await mine.add_member(ALICE)
        asks: list[Callable[[], Coroutine[Any, Any, None]]] = [
            lambda: mine.add_member(Member("x", "nobody", Kind.USER, "x")),
            lambda: mine.add_key(AccessKey("x", OWNER_ID, "nobody", b"")),
            lambda: mine.add_key(AccessKey("x", ALT.id, ALICE.id, b"")),
            lambda: mine.attach("nobody", "x", "{}"),
            lambda: mine.attach(ALICE.id, "x", None),
            lambda: mine.join("nobody", ALICE.id, joined=True),
            lambda: mine.enable_key("x", enabled=True),
            lambda: mine.remove_key("x"),
            lambda: mine.remove_member("x"),
            lambda: mine.remove_account("x"),
            lambda: mine.change_account(ALT),
            lambda: mine.trust("x", "{}"),
        ]
        for ask in asks:
            with refused("NoSuchEntity"):
                await ask()

    with_two(tmp_path, body)


def test_an_account_goes_with_everybody_in_it_but_not_while_it_owns_a_bucket(tmp_path: Path) -> None:
    async def body(index: SqliteIndex, seen: Identities) -> None:
        mine = index.identities
        await mine.add_account(ALT)
        await mine.add_member(READER)
        await mine.add_key(AccessKey("AKIDALT", ALT.id, "", b"x"))
        assert seen.by_key("AKIDALT") is not None
        await index.create_bucket(Bucket("theirs", 1, "", ALT.id))
        with refused("DeleteConflict"):
            await mine.remove_account(ALT.id)
        await index.delete_bucket("theirs")
        await mine.remove_account(ALT.id)
        assert seen.by_key("AKIDALT") is None and seen.account(ALT.id) is None
        assert seen.by_name(ALT.number, Kind.ROLE, "reader") is None

    with_two(tmp_path, body)
