"""Where objects lie at a provider: `s3://bucket/prefix`, with `{bucket}` for the client's bucket.

Answers for the name of each object there, and for telling which key a name is. Without `{bucket}` the client's bucket
is a directory below the prefix. Our own things lie in `.holdfast/` beside the objects. Where a client's bucket
is a bucket at the provider, its keys below `.holdfast/` get a `=` behind the slash, so that they never meet ours; every other
key is plain, under its own name. Pure. Invariant: different places have different names, the order of
names is that of keys, and `key_of(spot(place)) == place.key`.
"""

import re
from typing import Final

from holdfast.model import Place, Value

MARK: Final = "{bucket}"
PRIVATE: Final = ".holdfast/"
IDENTITY: Final = PRIVATE + "identity"
_ESCAPE: Final = "="
_BUCKET = re.compile(r"[a-z0-9][a-z0-9._-]{1,254}", re.ASCII)
"""Loose on purpose: some vendors have buckets that Amazon would not take."""
_HOME: Final = "holdfast"
"""Stands for the client's bucket in the name of the bucket that has the identity."""


class BadLocation(ValueError):
    """A location is not written as it must be. Says what is wrong, and what to write instead."""

    def __init__(self, what: str, remedy: str, *, setting: str = "url") -> None:
        self.what = what
        self.remedy = remedy
        self.setting = setting
        super().__init__(f"{what} {remedy}")


class Spot(Value, frozen=True):
    """An object at the provider."""

    bucket: str
    key: str


class Location(Value, frozen=True):
    """A location, read. Make it with `read_location`."""

    bucket: str
    """The provider's bucket, possibly with MARK in it."""
    prefix: str
    """Empty, or ending in a slash; with MARK in it when `bucket` has none."""
    home: str
    """The provider's bucket that has the identity."""

    @property
    def per_bucket(self) -> bool:
        """Each client's bucket is a bucket at the provider."""
        return MARK in self.bucket

    @property
    def identity(self) -> Spot:
        """Where the grid keeps who it is."""
        return Spot(self.home, self.base + IDENTITY)

    @property
    def base(self) -> str:
        """What all names begin with, whatever the client's bucket."""
        return self.prefix.partition(MARK)[0]

    def bucket_of(self, bucket: str) -> str:
        """The provider's bucket for a client's bucket."""
        return self.bucket.replace(MARK, bucket)

    def prefix_of(self, bucket: str) -> str:
        """What the names of a client's bucket begin with."""
        return self.prefix.replace(MARK, bucket)

    def spot(self, place: Place) -> Spot:
        """Where an object lies."""
        return Spot(self.bucket_of(place.bucket), self.prefix_of(place.bucket) + self.escape(place.key))

    def escape(self, key: str) -> str:
        """A key, or the beginning of one, as names have it."""
        if self.per_bucket and key.startswith(PRIVATE):
            return PRIVATE + _ESCAPE + key[len(PRIVATE) :]
        return key

    def key_of(self, bucket: str, name: str) -> str | None:
        """The key of a name in a listing; None for what is ours."""
        key = name.removeprefix(self.prefix_of(bucket))
        if self.per_bucket and key.startswith(PRIVATE):
            rest = key[len(PRIVATE) :]
            return PRIVATE + rest[1:] if rest.startswith(_ESCAPE) else None
        return key


def read_location(url: str, home: str = "") -> Location:
    """The location that a grid's url names. Raises BadLocation."""
    rest = url.removeprefix("s3://")
    bucket, _, prefix = rest.partition("/")
    remedy = 'Write "s3://bucket", "s3://bucket/prefix", "s3://{bucket}" or "s3://bucket/prefix/{bucket}/".'
    if rest == url or not bucket:
        raise BadLocation(f'"{url}" names no bucket.', remedy)
    if rest.count(MARK) > 1 or "{" in rest.replace(MARK, "") or "}" in rest.replace(MARK, ""):
        raise BadLocation(f'"{url}" may have "{MARK}" once, and nothing else in braces.', remedy)
    if not _BUCKET.fullmatch(bucket.replace(MARK, "bucket")):
        raise BadLocation(f'"{bucket}" is not the name of a bucket.', remedy)
    segments = [segment for segment in prefix.split("/") if segment]
    if any(MARK in segment and segment != MARK for segment in segments):
        raise BadLocation(f'in "{url}", "{MARK}" must be a whole directory.', remedy)
    if any(segment in (".", "..", ".holdfast") for segment in segments):
        raise BadLocation(f'"{url}" has a directory that cannot be used.', "Use other names.")
    if MARK not in rest:
        segments.append(MARK)
    if home and MARK not in bucket:
        what = f'it is for urls with "{MARK}" as the bucket.'
        raise BadLocation(what, "Remove it: the identity lies in the bucket.", setting="home")
    if home and not _BUCKET.fullmatch(home):
        raise BadLocation(
            f'"{home}" is not the name of a bucket.', "Write the name of a bucket of yours.", setting="home"
        )
    return Location(bucket, "".join(segment + "/" for segment in segments), home or bucket.replace(MARK, _HOME))


def overlap(one: Location, other: Location) -> bool:
    """Whether two locations at one provider have a place in common, as far as names tell."""
    if not (_covers(one.bucket, other.bucket) or _covers(other.bucket, one.bucket)):
        return False
    return one.base.startswith(other.base) or other.base.startswith(one.base)


def _covers(template: str, bucket: str) -> bool:
    """Whether a bucket's name, or a template of such, can be one of a template's."""
    head, mark, tail = template.partition(MARK)
    if not mark:
        return template == bucket
    return bucket == template or (
        bucket.startswith(head) and bucket.endswith(tail) and len(bucket) > len(head) + len(tail)
    )
