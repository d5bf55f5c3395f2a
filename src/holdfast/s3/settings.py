"""A bucket's sub-resources as one kind of request: get, put or delete a named setting.

What a setting says is a value of its own module here in `s3`; how it looks in XML is in `wire.documents`, which has a row for each.
The index keeps it packed and does not look into it. Source: Amazon S3 API Reference, the Get/Put/DeleteBucket* actions.
"""

from functools import lru_cache
from typing import Any, TypeVar

from holdfast.model import Bucket, Value, unpack
from holdfast.s3 import Expected

V = TypeVar("V", bound=Value)


class GetSetting(Value, frozen=True):
    bucket: str
    name: str
    """The marker in the query, such as `cors`."""


class PutSetting(Value, frozen=True):
    bucket: str
    name: str
    value: Any = None
    """A value of the kind that the setting's row in `wire.documents` names."""
    expected: Expected = Expected()
    """Of the body."""
    beside: str = ""
    """What the header says that is a part of the setting, where there is one."""


class DeleteSetting(Value, frozen=True):
    bucket: str
    name: str


class SettingGot(Value, frozen=True):
    bucket: str
    name: str
    data: bytes | None
    """The packed value; None when the bucket has none."""


class SettingPut(Value, frozen=True):
    name: str


def value_of(got: SettingGot, kind: type[V]) -> V | None:
    """The value that was got, None when it is not set."""
    return None if got.data is None else _unpacked(got.data, kind)


def setting(bucket: Bucket, name: str, kind: type[V]) -> V | None:
    """One of a bucket's settings, None when it is not set."""
    data = bucket.settings.get(name)
    return None if data is None else _unpacked(data, kind)


@lru_cache(maxsize=1024)
def _unpacked(data: bytes, kind: type[V]) -> V:
    return unpack(data, kind)
