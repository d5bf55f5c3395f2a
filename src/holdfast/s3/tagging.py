"""Tags of buckets and of versions. Source: Amazon S3 API Reference, PutObjectTagging, PutBucketTagging."""

from holdfast.model import Value
from holdfast.s3 import Expected


class Tags(Value, frozen=True):
    """A set of tags, in the order in which they were given."""

    tags: dict[str, str] = {}


class GetObjectTagging(Value, frozen=True):
    bucket: str
    key: str
    version_id: str = ""


class PutObjectTagging(Value, frozen=True):
    """The tags come in the body. They take the place of all that there were."""

    bucket: str
    key: str
    version_id: str = ""
    tags: dict[str, str] = {}
    expected: Expected = Expected()


class DeleteObjectTagging(Value, frozen=True):
    bucket: str
    key: str
    version_id: str = ""


class ObjectTags(Value, frozen=True):
    version_id: str
    tags: dict[str, str]


class TagsPut(Value, frozen=True):
    version_id: str


class TagsDeleted(Value, frozen=True):
    version_id: str
