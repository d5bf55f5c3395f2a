"""How a key becomes the name of an object at Azure or Google, and back.

Almost every key is *plain*: its name is the key below the bucket's directory. A key that the provider or the library would not
keep just so (an empty, `.` or `..` segment, a control character, a dot at a segment's end at Azure) has a *hard* name: its bytes
in hexadecimal below `.holdfast/keys/`, which keeps the order of keys. A hard name that would be too long cannot be held.
Pure. Invariant: different keys have different names, `key_of(name_of(key)) == key`, and no key's name is one of ours.
"""

import re
from collections.abc import AsyncIterator
from typing import Final, TypeVar

from holdfast.grids.obstore.providers import Provider
from holdfast.grids.s3.location import MARK, PRIVATE, BadLocation, Location, read_location
from holdfast.limits import S3_SORT_KEYS

HARD: Final = PRIVATE + "keys/"
_HEX = re.compile(r"(?:[0-9a-f]{2})+", re.ASCII)
_HIGH = re.compile("[\ue000-\U0010ffff]")
"""From here on the order of UTF-16 and that of UTF-8 differ."""
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_ILLEGAL = re.compile(r"(?:\A|(?<=/))\.{0,2}(?:/|\Z)|[\x00-\x1f\x7f]")

_Row = TypeVar("_Row")


class Unholdable(ValueError):
    """No object there can have this name. Says why."""


def read_place(url: str, provider: Provider, home: str = "") -> Location:
    """The location that a grid's url names. Raises BadLocation."""
    own = f"{provider.scheme}://"
    rest = url.removeprefix(own)
    try:
        return read_location("s3://" + rest if rest != url else url, home)
    except BadLocation as bad:
        what, remedy = bad.what.replace("s3://", own), bad.remedy.replace("s3://", own)
        raise BadLocation(what, remedy, setting=bad.setting) from bad


def name_of(key: str, base: str, provider: Provider) -> str:
    """The name of a key's object below `base`. Raises Unholdable."""
    if not key:
        raise Unholdable("the key is empty")
    try:
        plain = is_plain(key, base, provider)
        name = base + (key if plain else HARD + key.encode().hex())
        size = provider.length(name)
    except UnicodeEncodeError as trouble:
        raise Unholdable("the key is not UTF-8") from trouble
    if size > provider.name_limit:
        escaped = "" if plain else ", because it must be escaped there"
        raise Unholdable(f"its name there would be {size} long{escaped}; {provider.name_limit} is possible")
    return name


def refused_keys(provider: Provider, prefix: str) -> str:
    """A pattern of the keys (of `bucket/key` where the bucket is part of `prefix`) that cannot be held: hard ones that are too long.

    It counts characters, so it is stricter than need be with keys that are not ASCII."""
    inside = MARK in prefix
    most = (provider.name_limit - len(prefix.replace(MARK, "")) - len(HARD)) // 2
    private = (r"\A[^/]*/" if inside else r"\A") + re.escape(PRIVATE)
    depth = provider.segments - prefix.count("/")
    hard = f"{provider.unsafe}|{private}|(?:/[^/]*){{{depth},}}"
    return rf"(?s)\A(?=.{{{most // 4 + 1}}})(?=.*?(?:{hard}))(?:.{{{most + 1},}}|.*[^\x00-\x7f])"


def is_plain(key: str, base: str, provider: Provider) -> bool:
    """Whether the key's name is the key itself."""
    return provider.keeps(base + key) and not key.startswith(PRIVATE)


def hard_key(name: str, base: str) -> str | None:
    """The key whose hard name this is; None for a foreign name."""
    text = name.removeprefix(base + HARD)
    if text == name or _HEX.fullmatch(text) is None:
        return None
    try:
        return bytes.fromhex(text).decode()
    except UnicodeDecodeError:
        return None


def directory_of(base: str, prefix: str) -> str | None:
    """The directory that has every plain key with this prefix; None when no plain key has it."""
    folder, slash, rest = prefix.rpartition("/")
    if prefix.startswith(PRIVATE) or _CONTROL.search(rest) or (slash and _ILLEGAL.search(folder)):
        return None
    return (base + folder).strip("/")


def begin_after(name: str) -> str | None:
    """Where a listing may begin so that nothing above `name` is missed, in either order; None: at its beginning.

    What is found below `name` is to be dropped."""
    for cut in (_HIGH, _CONTROL, _ILLEGAL):
        if found := cut.search(name):
            name = name[: found.start()]
    return name.rstrip("/") or None


def stem(name: str) -> str | None:
    """What all names have in common that come in another order in UTF-16 than in UTF-8; None when the orders agree."""
    found = _HIGH.search(name)
    return None if found is None else name[: found.start()]


async def in_byte_order(rows: AsyncIterator[tuple[str, _Row]]) -> AsyncIterator[tuple[str, _Row]]:
    """Rows by name, from the order of UTF-16 or UTF-8 into that of UTF-8. Raises Unholdable when too many have to be held."""
    run: list[tuple[str, _Row]] = []
    common: str | None = None
    async for row in rows:
        begins = stem(row[0])
        if run and begins != common:
            for held in sorted(run, key=_bytes):
                yield held
            run = []
        common = begins
        if begins is None:
            yield row
            continue
        run.append(row)
        if len(run) > S3_SORT_KEYS:
            raise Unholdable(f"more than {S3_SORT_KEYS} names below one another have to be sorted")
    for held in sorted(run, key=_bytes):
        yield held


def _bytes(row: tuple[str, object]) -> bytes:
    return row[0].encode()
