"""`holdfast account|user|group|role|key|policy`: who may use this node, and what they may do."""

import re
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from holdfast.access.policy import Sort
from holdfast.cli.people import (
    ROOT_ACCOUNT,
    AccessKeyOption,
    AccountOption,
    Desk,
    SecretKeyOption,
    account_row,
    at_desk,
    document_of,
    key_rows,
    member_row,
    show,
    show_one,
)
from holdfast.cli.telling import ConfigOption, DataOption, JsonOption, prose, tell_problem
from holdfast.errors import ConfigError, S3Error
from holdfast.model import replace
from holdfast.s3.identities import Account, Kind

_NAME: Final = re.compile(r"[\w+=,.@-]{1,64}", re.ASCII)
_ID: Final = re.compile(r"[0-9a-zA-Z-]{1,64}", re.ASCII)
_NUMBER: Final = re.compile(r"[0-9]{12}", re.ASCII)


def _app(text: str) -> typer.Typer:
    return typer.Typer(no_args_is_help=True, rich_markup_mode="rich", help=prose(text))


account_app = _app("""
Accounts own buckets. The owner of an account may do everything in it, and nothing in another one that is not shared with it. The
configured key pair belongs to the owner of the first one, holdfast.
""")
user_app = _app("""
Users of an account may do what policies allow them, and nothing before one does.

With [cyan]--id[/cyan], [cyan]--display-name[/cyan] or [cyan]--email[/cyan] the user is the owner of an account of their own, as tools expect that
know users and no accounts.

[b]Examples[/b]

[cyan]holdfast user add alice[/cyan]   a user of the root account; prints a key pair, once

[cyan]holdfast policy attach read-photos policy.json --user alice[/cyan]   what they may do

[cyan]holdfast user add bob --display-name Bob --email bob@example.net[/cyan]   somebody with buckets of their own
""")
group_app = _app("""Groups hand their policies to the users in them.""")
role_app = _app("""Roles are assumed for a while, by whom their trust policy names, through STS AssumeRole.""")
key_app = _app("""
Access keys. A user may have several, so that they can be rotated without haste: [cyan]key rotate[/cyan], tell the application, then
[cyan]key disable[/cyan] the old one.
""")
policy_app = _app("""Policies of users, groups and roles, as JSON documents. Those of buckets are set by S3 clients.""")

NameArgument = Annotated[str, typer.Argument(metavar="NAME")]


def _checked(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise ConfigError("NAME", "must be up to 64 of letters, digits and +=,.@-_")
    return name


def _new_account(desk: Desk, name: str, canonical: str, number: str, email: str) -> Account:
    canonical = canonical or desk.clock.token(32).hex()
    number = number or str(10**11 + int.from_bytes(desk.clock.token(8), "big") % (9 * 10**11))
    if not _ID.fullmatch(canonical):
        raise ConfigError("--id", "must be up to 64 letters, digits and dashes; S3's have 64 hexadecimal digits.")
    if not _NUMBER.fullmatch(number):
        raise ConfigError("--number", "must be 12 digits.")
    return Account(canonical, number, name, email, desk.clock.now_ms())


# --- accounts ---


@account_app.command("add")
def add_account(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Display name.")],
    canonical: Annotated[str, typer.Option("--id", help="Canonical id. Default: a new one.")] = "",
    number: Annotated[str, typer.Option("--number", help="The 12 digits in ARNs. Default: new ones.")] = "",
    email: Annotated[str, typer.Option("--email", help="By which grants may name it.")] = "",
    access_key: AccessKeyOption = None,
    secret_key: SecretKeyOption = None,
    config: ConfigOption = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make an account, with a key pair of its owner."""

    async def work(desk: Desk) -> dict[str, Any]:
        account = _new_account(desk, name, canonical, number, email)
        await desk.identities.add_account(account)
        return {**account_row(account), **await desk.add_key(account, "", access_key, secret_key)}

    show_one(at_desk(config, data, work), as_json=as_json)


@account_app.command("list")
def list_accounts(config: ConfigOption = None, data: DataOption = None, as_json: JsonOption = False) -> None:
    """All accounts."""

    async def work(desk: Desk) -> list[dict[str, Any]]:
        return [account_row(account) for account in await desk.identities.accounts()]

    show(at_desk(config, data, work), as_json=as_json, none="no accounts")


@account_app.command("set")
def set_account(
    account: Annotated[str, typer.Argument(metavar="ACCOUNT")],
    name: Annotated[str | None, typer.Option("--display-name")] = None,
    email: Annotated[str | None, typer.Option("--email")] = None,
    config: ConfigOption = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Change an account's display name or e-mail address."""

    async def work(desk: Desk) -> dict[str, Any]:
        found = desk.account(account)
        changed = replace(
            found, name=found.name if name is None else name, email=found.email if email is None else email
        )
        await desk.identities.change_account(changed)
        return account_row(changed)

    show_one(at_desk(config, data, work), as_json=as_json)


@account_app.command("remove")
def remove_account(
    account: Annotated[str, typer.Argument(metavar="ACCOUNT")], config: ConfigOption = None, data: DataOption = None
) -> None:
    """Remove an account that owns no buckets, with everybody in it."""

    async def work(desk: Desk) -> None:
        await desk.identities.remove_account(desk.account(account).id)

    at_desk(config, data, work)


# --- users, groups, roles ---


@user_app.command("add")
def add_user(
    name: NameArgument,
    account: AccountOption = ROOT_ACCOUNT,
    canonical: Annotated[str, typer.Option("--id", help="Canonical id of an account of their own.")] = "",
    display: Annotated[str, typer.Option("--display-name", help="Its display name. Default: NAME.")] = "",
    email: Annotated[str, typer.Option("--email", help="Its e-mail address.")] = "",
    access_key: AccessKeyOption = None,
    secret_key: SecretKeyOption = None,
    no_key: Annotated[bool, typer.Option("--no-key", help="Make no key pair yet.")] = False,
    config: ConfigOption = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make a user, with a key pair."""

    async def work(desk: Desk) -> dict[str, Any]:
        if canonical or display or email:
            made = _new_account(desk, display or name, canonical, "", email)
            await desk.identities.add_account(made)
            row, member = {"name": name, **account_row(made), "arn": made.arn}, ""
        else:
            made = desk.account(account)
            added = await desk.add_member(made, Kind.USER, _checked(name))
            row, member = {"name": name, "arn": f"arn:aws:iam::{made.number}:user/{name}", "id": added.id}, added.id
        return row if no_key else {**row, **await desk.add_key(made, member, access_key, secret_key)}

    show_one(at_desk(config, data, work), as_json=as_json)


def _list_command(app: typer.Typer, kind: Kind) -> None:
    def command(
        account: AccountOption = ROOT_ACCOUNT,
        config: ConfigOption = None,
        data: DataOption = None,
        as_json: JsonOption = False,
    ) -> None:
        async def work(desk: Desk) -> list[dict[str, Any]]:
            found = desk.account(account)
            return [member_row(who, found) for who in await desk.identities.members(found.id, kind)]

        show(at_desk(config, data, work), as_json=as_json, none=f"no {kind.value}s")

    app.command("list", help=f"All {kind.value}s of an account.")(command)


def _show_command(app: typer.Typer, kind: Kind) -> None:
    def command(
        name: NameArgument,
        account: AccountOption = ROOT_ACCOUNT,
        config: ConfigOption = None,
        data: DataOption = None,
        as_json: JsonOption = False,
    ) -> None:
        async def work(desk: Desk) -> dict[str, Any]:
            found = desk.account(account)
            who = await desk.member(found, kind, name)
            row = {**member_row(who, found), "id": who.member.id, "account": found.name, "canonical_id": found.id}
            return {**row, "trust": who.member.trust} if kind is Kind.ROLE else row

        show_one(at_desk(config, data, work), as_json=as_json)

    app.command("show", help=f"One {kind.value}.")(command)


def _remove_command(app: typer.Typer, kind: Kind) -> None:
    def command(
        name: NameArgument, account: AccountOption = ROOT_ACCOUNT, config: ConfigOption = None, data: DataOption = None
    ) -> None:
        async def work(desk: Desk) -> None:
            who = await desk.member(desk.account(account), kind, name)
            await desk.identities.remove_member(who.member.id)

        at_desk(config, data, work)

    app.command("remove", help=f"Remove a {kind.value}, with keys and policies.")(command)


for _kind, _of in ((Kind.USER, user_app), (Kind.GROUP, group_app), (Kind.ROLE, role_app)):
    _list_command(_of, _kind)
    _show_command(_of, _kind)
    _remove_command(_of, _kind)


@group_app.command("add")
def add_group(
    name: NameArgument, account: AccountOption = ROOT_ACCOUNT, config: ConfigOption = None, data: DataOption = None
) -> None:
    """Make a group."""

    async def work(desk: Desk) -> None:
        await desk.add_member(desk.account(account), Kind.GROUP, _checked(name))

    at_desk(config, data, work)


def _join_command(name: str, joined: bool, text: str) -> None:
    def command(
        group: Annotated[str, typer.Argument(metavar="GROUP")],
        user: Annotated[str, typer.Argument(metavar="USER")],
        account: AccountOption = ROOT_ACCOUNT,
        config: ConfigOption = None,
        data: DataOption = None,
    ) -> None:
        async def work(desk: Desk) -> None:
            found = desk.account(account)
            to = (await desk.member(found, Kind.GROUP, group)).member.id
            who = (await desk.member(found, Kind.USER, user)).member.id
            await desk.identities.join(to, who, joined=joined)

        at_desk(config, data, work)

    group_app.command(name, help=text)(command)


_join_command("join", True, "Put a user into a group.")
_join_command("leave", False, "Take a user out of a group.")

TrustOption = Annotated[Path, typer.Option("--trust", metavar="FILE", help="Policy that says who may assume it.")]


@role_app.command("add")
def add_role(
    name: NameArgument,
    trust: TrustOption,
    account: AccountOption = ROOT_ACCOUNT,
    config: ConfigOption = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make a role."""

    async def work(desk: Desk) -> dict[str, Any]:
        found = desk.account(account)
        made = await desk.add_member(found, Kind.ROLE, _checked(name), document_of(trust, Sort.TRUST))
        return {"name": name, "arn": f"arn:aws:iam::{found.number}:role/{name}", "id": made.id}

    show_one(at_desk(config, data, work), as_json=as_json)


@role_app.command("trust")
def trust_role(
    name: NameArgument,
    trust: TrustOption,
    account: AccountOption = ROOT_ACCOUNT,
    config: ConfigOption = None,
    data: DataOption = None,
) -> None:
    """Replace the trust policy of a role."""

    async def work(desk: Desk) -> None:
        who = await desk.member(desk.account(account), Kind.ROLE, name)
        await desk.identities.trust(who.member.id, document_of(trust, Sort.TRUST))

    at_desk(config, data, work)


# --- keys ---

OwnerOption = Annotated[bool, typer.Option("--owner", help="Of the account's owner instead of a user.")]
UserArgument = Annotated[str, typer.Argument(metavar="USER")]
KeyArgument = Annotated[str, typer.Argument(metavar="KEY")]


async def _holder(desk: Desk, account: str, user: str, owner: bool) -> tuple[Account, str]:
    if owner == bool(user):
        raise ConfigError("USER", "name a user, or --owner for the account's owner.")
    found = desk.account(account)
    return found, "" if owner else (await desk.member(found, Kind.USER, user)).member.id


@key_app.command("add")
def add_key(
    user: UserArgument = "",
    owner: OwnerOption = False,
    account: AccountOption = ROOT_ACCOUNT,
    access_key: AccessKeyOption = None,
    secret_key: SecretKeyOption = None,
    config: ConfigOption = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make a key pair. The secret is shown now and never again."""

    async def work(desk: Desk) -> dict[str, str]:
        found, member = await _holder(desk, account, user, owner)
        return await desk.add_key(found, member, access_key, secret_key)

    show_one(at_desk(config, data, work), as_json=as_json)


@key_app.command("list")
def list_keys(
    user: UserArgument = "",
    owner: OwnerOption = False,
    account: AccountOption = ROOT_ACCOUNT,
    config: ConfigOption = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """The keys of a user."""

    async def work(desk: Desk) -> list[dict[str, Any]]:
        found, member = await _holder(desk, account, user, owner)
        return key_rows(await desk.identities.keys(found.id, member))

    show(at_desk(config, data, work), as_json=as_json, none="no keys")


@key_app.command("rotate")
def rotate_key(
    key: KeyArgument,
    now: Annotated[bool, typer.Option("--now", help="Disable the old key at once.")] = False,
    config: ConfigOption = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make another key pair for whoever has KEY, which stays enabled unless told otherwise."""

    async def work(desk: Desk) -> dict[str, str]:
        found = desk.identities.by_key(key)
        if found is None or found.key is None:
            raise S3Error("NoSuchEntity", f"There is no key {key}.")
        made = await desk.add_key(found.account, found.key.member, None, None)
        if now:
            await desk.identities.enable_key(key, enabled=False)
        return made

    show_one(at_desk(config, data, work), as_json=as_json)


def _switch_command(name: str, enabled: bool, text: str) -> None:
    def command(key: KeyArgument, config: ConfigOption = None, data: DataOption = None) -> None:
        async def work(desk: Desk) -> None:
            await desk.identities.enable_key(key, enabled=enabled)

        at_desk(config, data, work)

    key_app.command(name, help=text)(command)


_switch_command("enable", True, "Let requests with this key in again.")
_switch_command("disable", False, "Refuse requests with this key from now on.")


@key_app.command("remove")
def remove_key(key: KeyArgument, config: ConfigOption = None, data: DataOption = None) -> None:
    """Remove a key for ever."""

    async def work(desk: Desk) -> None:
        await desk.identities.remove_key(key)

    at_desk(config, data, work)


# --- policies ---

_USER = Annotated[str, typer.Option("--user", "-u", metavar="NAME")]
_GROUP = Annotated[str, typer.Option("--group", "-g", metavar="NAME")]
_ROLE = Annotated[str, typer.Option("--role", "-r", metavar="NAME")]


async def _bearer(desk: Desk, account: str, user: str, group: str, role: str) -> str:
    given = [(kind, name) for kind, name in ((Kind.USER, user), (Kind.GROUP, group), (Kind.ROLE, role)) if name]
    if len(given) != 1:
        raise ConfigError("--user, --group, --role", "name one of them.")
    return (await desk.member(desk.account(account), *given[0])).member.id


@policy_app.command("attach")
def attach_policy(
    name: NameArgument,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The document, in JSON.")],
    user: _USER = "",
    group: _GROUP = "",
    role: _ROLE = "",
    account: AccountOption = ROOT_ACCOUNT,
    config: ConfigOption = None,
    data: DataOption = None,
) -> None:
    """Attach a policy, or replace the one of that name."""

    async def work(desk: Desk) -> None:
        document = document_of(file, Sort.IDENTITY)
        await desk.identities.attach(await _bearer(desk, account, user, group, role), _checked(name), document)

    at_desk(config, data, work)


@policy_app.command("detach")
def detach_policy(
    name: NameArgument,
    user: _USER = "",
    group: _GROUP = "",
    role: _ROLE = "",
    account: AccountOption = ROOT_ACCOUNT,
    config: ConfigOption = None,
    data: DataOption = None,
) -> None:
    """Take a policy away."""

    async def work(desk: Desk) -> None:
        await desk.identities.attach(await _bearer(desk, account, user, group, role), name, None)

    at_desk(config, data, work)


@policy_app.command("show")
def show_policy(
    name: NameArgument,
    user: _USER = "",
    group: _GROUP = "",
    role: _ROLE = "",
    account: AccountOption = ROOT_ACCOUNT,
    config: ConfigOption = None,
    data: DataOption = None,
) -> None:
    """Print a policy's document."""

    async def work(desk: Desk) -> str:
        return await desk.identities.document(await _bearer(desk, account, user, group, role), name)

    print(at_desk(config, data, work))


@policy_app.command("check")
def check_policy(
    file: Annotated[Path, typer.Argument(metavar="FILE")],
    sort: Annotated[Sort, typer.Option("--for", help="What it is to be attached to.")] = Sort.IDENTITY,
) -> None:
    """Whether a document is a policy."""
    try:
        document_of(file, sort)
    except ConfigError as trouble:
        tell_problem(trouble)
        raise typer.Exit(1) from trouble
    print("ok")
