"""Tagging: the tags of a bucket or of a version, as XML and as the value of a header, by the same rules.

Source: Amazon S3 API Reference, PutBucketTagging, PutObjectTagging, PutObject; User Guide, "Categorizing your objects
using tags".
"""

import unicodedata
from collections.abc import Iterable
from urllib.parse import unquote_plus

from holdfast.errors import S3Error
from holdfast.limits import BUCKET_TAGS, OBJECT_TAGS, TAG_KEY_CHARS, TAG_VALUE_CHARS
from holdfast.s3.tagging import Tags
from holdfast.xml import Element, element, malformed

_PUNCTUATION = frozenset("_.:/=+-@")
_RESERVED = "aws:"
_ENCODING = "The header 'x-amz-tagging' shall be encoded as UTF-8 then URLEncoded URL query parameters without tag name duplicates."


def read(root: Element) -> Tags:
    """The tags of a bucket."""
    return Tags(_read(root, BUCKET_TAGS, "Bucket tag count cannot be greater than"))


def read_object(root: Element) -> dict[str, str]:
    """The tags of a version."""
    return _read(root, OBJECT_TAGS, "Object tags cannot be greater than")


def read_new_bucket(tags: Element) -> dict[str, str]:
    """The tags that a bucket is created with."""
    return _read_all(tags, BUCKET_TAGS, "Bucket tag count cannot be greater than")


def read_header(text: str) -> dict[str, str]:
    """The tags of a version as `x-amz-tagging` has them: `name=value&name=value`, URL-encoded."""
    pairs = [_pair(field) for field in text.split("&") if field]
    if len({name for name, _ in pairs}) < len(pairs):
        raise S3Error("InvalidArgument", _ENCODING, fields={"ArgumentName": "x-amz-tagging", "ArgumentValue": text})
    return _checked(pairs, OBJECT_TAGS, "Object tags cannot be greater than")


def write(value: Tags) -> str:
    return write_tags(value.tags)


def write_tags(tags: dict[str, str]) -> str:
    rows = "".join(f"<Tag>{element('Key', name)}{element('Value', value)}</Tag>" for name, value in tags.items())
    return f"<TagSet>{rows}</TagSet>"


def _pair(field: str) -> tuple[str, str]:
    name, _, value = field.partition("=")
    try:
        return unquote_plus(name, errors="strict"), unquote_plus(value, errors="strict")
    except UnicodeDecodeError:
        detail = {"ArgumentName": "x-amz-tagging", "ArgumentValue": field}
        raise S3Error("InvalidArgument", _ENCODING, fields=detail) from None


def _read(root: Element, limit: int, too_many: str) -> dict[str, str]:
    tag_set = root.find("TagSet")
    if tag_set is None:
        raise malformed("Tagging without a TagSet")
    return _read_all(tag_set, limit, too_many)


def _read_all(tag_set: Element, limit: int, too_many: str) -> dict[str, str]:
    pairs = []
    for tag in tag_set.children:
        name, value = tag.get("Key"), tag.get("Value")
        if tag.name != "Tag" or name is None or value is None:
            raise malformed("a Tag without its Key or Value")
        pairs.append((name, value))
    return _checked(pairs, limit, too_many)


def _checked(pairs: Iterable[tuple[str, str]], limit: int, too_many: str) -> dict[str, str]:
    """The tags by name. Raises InvalidTag, and BadRequest for too many, as Amazon does."""
    pairs = list(pairs)
    if len(pairs) > limit:
        raise S3Error("BadRequest", f"{too_many} {limit}")
    tags: dict[str, str] = {}
    for name, value in pairs:
        if not 1 <= len(name) <= TAG_KEY_CHARS or not _allowed(name):
            raise S3Error("InvalidTag", "The TagKey you have provided is invalid", fields={"TagKey": name})
        if len(value) > TAG_VALUE_CHARS or not _allowed(value):
            raise S3Error(
                "InvalidTag", "The TagValue you have provided is invalid", fields={"TagKey": name, "TagValue": value}
            )
        if name.lower().startswith(_RESERVED):
            raise S3Error("InvalidTag", "System tags cannot be added/updated by requester", fields={"TagKey": name})
        if name in tags:
            raise S3Error("InvalidTag", "Cannot provide multiple Tags with the same key", fields={"TagKey": name})
        tags[name] = value
    return tags


def _allowed(text: str) -> bool:
    """Letters, digits and blanks of any script, and some punctuation."""
    return all(
        character in _PUNCTUATION or unicodedata.category(character)[0] in "LNZ" or unicodedata.combining(character)
        for character in text
    )
