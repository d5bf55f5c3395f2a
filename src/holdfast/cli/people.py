"""What the commands on accounts, users, groups, roles, keys and policies share.

Answers for opening the configured index, for finding whom an operator means, and for telling it. Each command works on the index directly; a server
that runs on it sees the change with its next request. Invariant: a secret key is printed by the command that made it and by no other.
"""

import asyncio
import json
import os
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Final, TypeVar

import typer

from holdfast.access.policy import Sort, read_policy
from holdfast.access.sessions import key_text, secret_text
from holdfast.cli.telling import settings_or_exit, tell_problem
from holdfast.clock import Clock, SystemClock
from holdfast.config.credentials import check_pair
from holdfast.config.settings import Settings
from holdfast.errors import ConfigError, S3Error
from holdfast.events import Teller
from holdfast.index.identities import Identities
from holdfast.index.sqlite import SqliteIndex
from holdfast.s3.identities import OWNER_NAME, AccessKey, Account, Kind, Member, Who, context_of
from holdfast.sealing.keyring import open_ring
from holdfast.sealing.master import MasterKey

T = TypeVar("T")

AccountOption = Annotated[
    str, typer.Option("--account", "-a", metavar="ACCOUNT", help="Its name, number, canonical id or e-mail address.")
]
AccessKeyOption = Annotated[
    str | None, typer.Option("--access-key", metavar="KEY", help="Take this access key instead of a new one.")
]
SecretKeyOption = Annotated[
    str | None,
    typer.Option("--secret-key", metavar="SECRET", help="And this secret: itself, env:NAME or file:PATH."),
]
ROOT_ACCOUNT: Final = OWNER_NAME
_PREFIXES: Final = {Kind.USER: "AIDA", Kind.GROUP: "AGPA", Kind.ROLE: "AROA"}


class Desk:
    """The identities of the configured node, and what is needed to change them."""

    def __init__(self, identities: Identities, master: Callable[[], MasterKey], clock: Clock) -> None:
        self.identities = identities
        self._master = master
        self.clock = clock

    def account(self, text: str) -> Account:
        """The account that an operator means; the root account also by the name that it was given first. Raises S3Error."""
        found = self.identities.account(text)
        if found is None and text == ROOT_ACCOUNT:
            found = self.identities.account("000000000000")
        if found is None:
            raise S3Error("NoSuchEntity", f"There is no account {text}.")
        return found

    async def member(self, account: Account, kind: Kind, name: str) -> Who:
        """A user, group or role by name. Raises S3Error."""
        for who in await self.identities.members(account.id, kind):
            if who.member.name == name:
                return who
        raise S3Error("NoSuchEntity", f"There is no {kind.value} {name} in the account {account.name}.")

    async def add_member(self, account: Account, kind: Kind, name: str, trust: str = "") -> Member:
        """Make a user, group or role."""
        member = Member(key_text(self.clock, _PREFIXES[kind]), account.id, kind, name, self.clock.now_ms(), trust)
        await self.identities.add_member(member)
        return member

    async def add_key(
        self, account: Account, member: str, access_key: str | None, secret_key: str | None
    ) -> dict[str, str]:
        """Make a key, or take the given pair; what to show of it once. Raises ConfigError."""
        if (access_key is None) != (secret_key is None):
            missing = "--secret-key" if secret_key is None else "--access-key"
            raise ConfigError(missing, "is missing.", "Give both, or none to have a pair made.")
        if access_key is None or secret_key is None:
            access_key, secret_key = key_text(self.clock, "AKIA"), secret_text(self.clock)
        else:
            secret_key = check_pair(access_key, secret_key, os.environ)
        sealed = self._master().wrap(secret_key.encode(), context_of(access_key))
        await self.identities.add_key(AccessKey(access_key, account.id, member, sealed, created_ms=self.clock.now_ms()))
        return {"access_key": access_key, "secret_key": secret_key}


def at_desk(config: Path | None, data: str | None, work: Callable[[Desk], Awaitable[T]]) -> T:
    """What `work` returns. Tells a mistake and leaves with 1."""
    settings = settings_or_exit(config, {"data": data}).settings
    before = os.umask(0o077)  # The index has customers' data: nobody else's business on this machine.
    try:
        return asyncio.run(_work(settings, work))
    except S3Error as refusal:
        tell_problem(ConfigError(refusal.code, refusal.message))
        raise typer.Exit(1) from refusal
    except ConfigError as trouble:
        tell_problem(trouble)
        raise typer.Exit(1) from trouble
    finally:
        os.umask(before)


async def _work(settings: Settings, work: Callable[[Desk], Awaitable[T]]) -> T:
    clock = SystemClock()

    def master() -> MasterKey:
        return open_ring(settings.master_key_path, clock, given=settings.sealing.master_key, environ=os.environ)

    settings.data.mkdir(parents=True, exist_ok=True)
    index = SqliteIndex(settings.index_path, clock=clock, teller=Teller(), node="cli")
    await index.open()
    try:
        return await work(Desk(index.identities, master, clock))
    finally:
        await index.close()


def document_of(file: Path, sort: Sort) -> str:
    """A policy out of a file. Raises ConfigError when it is none."""
    try:
        text = file.read_text(encoding="utf-8").strip()
        read_policy(text, sort)
    except S3Error as refusal:
        raise ConfigError(str(file), refusal.message) from refusal
    except (OSError, ValueError) as trouble:
        reason = trouble.strerror if isinstance(trouble, OSError) else "it is not text"
        raise ConfigError(str(file), f"cannot be read: {reason}.") from trouble
    return text


# --- telling ---


def show(rows: Sequence[Mapping[str, Any]], *, as_json: bool, none: str) -> None:
    """Rows as a table, or as JSON."""
    if as_json:
        print(json.dumps(list(rows)))
        return
    if not rows:
        print(none)
        return
    names = list(rows[0])
    cells = [[name.replace("_", " ") for name in names], *([_text(row[name]) for name in names] for row in rows)]
    widths = [max(len(line[at]) for line in cells) for at in range(len(names))]
    for line in cells:
        print("  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip())


def show_one(row: Mapping[str, Any], *, as_json: bool) -> None:
    """One thing, line by line, or as JSON."""
    if as_json:
        print(json.dumps(dict(row)))
        return
    width = max(map(len, row))
    for name, value in row.items():
        print(f"{name.replace('_', ' ').ljust(width)}  {_text(value)}")


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "-"
    return str(value) if value != "" else "-"


def account_row(account: Account) -> dict[str, Any]:
    return {"name": account.name, "number": account.number, "canonical_id": account.id, "email": account.email}


def member_row(who: Who, account: Account) -> dict[str, Any]:
    """A user, group or role as lists show it."""
    member = who.member
    row: dict[str, Any] = {
        "name": member.name,
        "arn": f"arn:aws:iam::{account.number}:{member.kind.value}/{member.name}",
        "policies": list(who.policies),
    }
    if member.kind is not Kind.ROLE:
        row["groups" if member.kind is Kind.USER else "users"] = list(who.groups)
    if member.kind is Kind.USER:
        row["keys"] = [key.id for key in who.keys]
    return row


def key_rows(keys: Iterable[AccessKey]) -> list[dict[str, Any]]:
    return [{"access_key": key.id, "enabled": key.enabled, "created_ms": key.created_ms} for key in keys]
