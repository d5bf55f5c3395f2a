"""`Identities`: accounts, users, groups, roles, keys and policies, as the index keeps them.

Answers for who there is and what is attached to whom. It never sees a secret that is not sealed, and never reads a policy. Invariant: when a
changing method returns, the change is durable and every process sees it with its next question.

Changing methods raise S3Error with the codes of IAM: NoSuchEntity, EntityAlreadyExists, LimitExceeded, DeleteConflict.
"""

from typing import Protocol

from holdfast.s3.identities import AccessKey, Account, Identity, Kind, Member, Who


class Identities(Protocol):
    # --- questions of requests: answered at once, remembered by each process until something changes ---

    def by_key(self, access_key: str) -> Identity | None:
        """Whose key it is, enabled or not."""
        ...

    def by_id(self, account: str, member: str) -> Identity | None:
        """A user or a role of an account, or with an empty `member` its owner."""
        ...

    def by_name(self, number: str, kind: Kind, name: str) -> Identity | None:
        """A user, group or role by the number of its account and its name."""
        ...

    def account(self, text: str) -> Account | None:
        """By canonical id, number, e-mail address or name."""
        ...

    # --- lists ---

    async def accounts(self) -> tuple[Account, ...]:
        """By name."""
        ...

    async def members(self, account: str, kind: Kind) -> tuple[Who, ...]:
        """Of one account, by name."""
        ...

    async def keys(self, account: str, member: str) -> tuple[AccessKey, ...]:
        """Of a user, or with an empty `member` of the account's owner; the oldest first."""
        ...

    async def document(self, member: str, name: str) -> str:
        """A policy that is attached to a user, group or role. Raises NoSuchEntity."""
        ...

    # --- changes ---

    async def add_account(self, account: Account) -> None: ...

    async def change_account(self, account: Account) -> None:
        """Its name and e-mail address."""
        ...

    async def remove_account(self, account: str) -> None:
        """With everybody in it. Raises DeleteConflict while it owns a bucket, and for the root account."""
        ...

    async def add_member(self, member: Member) -> None: ...

    async def trust(self, role: str, document: str) -> None:
        """Replace the policy that says who may assume a role."""
        ...

    async def remove_member(self, member: str) -> None:
        """With their keys and policies."""
        ...

    async def join(self, group: str, user: str, *, joined: bool) -> None:
        """Put a user into a group, or take them out."""
        ...

    async def add_key(self, key: AccessKey) -> None: ...

    async def enable_key(self, access_key: str, *, enabled: bool) -> None: ...

    async def remove_key(self, access_key: str) -> None: ...

    async def attach(self, member: str, name: str, document: str | None) -> None:
        """Attach a policy or replace the one of that name; None takes it away."""
        ...
