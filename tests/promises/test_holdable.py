"""What a grid of the policy could never hold is refused when it is put, with the reason, and owed to nobody."""

import asyncio
from pathlib import Path

import pytest

from holdfast.errors import S3Error
from holdfast.grids.memory import MemoryGrid
from holdfast.model import Facts, replace
from holdfast.s3 import CopyObject, CopySource, CreateMultipartUpload, PutObject
from tests.engine import BUCKET, Bytes, engine


def narrow() -> MemoryGrid:
    """A grid that holds less than S3 allows."""
    grid = MemoryGrid("narrow")
    grid.capabilities = replace(
        grid.capabilities, key_bytes=20, bucket_in_key=True, refused_keys=r"//|^x", metadata_bytes=30, object_bytes=1000
    )
    return grid


@pytest.mark.parametrize(
    ("key", "user", "size", "code", "reason"),
    [
        ("k" * 14, {}, 1, "", ""),
        ("k" * 15, {}, 1, "KeyTooLongError", "keys of up to 14 bytes"),
        ("ä" * 8, {}, 1, "KeyTooLongError", "keys of up to 14 bytes"),
        ("a//b", {}, 1, "InvalidArgument", "cannot hold this key"),
        ("x", {}, 1, "", ""),
        ("k", {"colour": "x" * 24}, 1, "", ""),
        ("k", {"colour": "x" * 25}, 1, "MetadataTooLarge", "up to 30 bytes"),
        ("k", {"colour": "äöü"}, 1, "", ""),
        ("k", {"colour": "äöüäöü"}, 1, "MetadataTooLarge", "up to 30 bytes"),
        ("k", {}, 1000, "", ""),
        ("k", {}, 1001, "EntityTooLarge", "objects of up to 1000 bytes"),
    ],
)
def test_a_put_that_a_grid_could_never_hold_is_refused_with_the_reason(
    tmp_path: Path, key: str, user: dict[str, str], size: int, code: str, reason: str
) -> None:
    async def scene() -> None:
        async with engine(tmp_path, [MemoryGrid("wide"), narrow()]) as made:
            body = Bytes(b"x" * size)
            try:
                await made.store.put_object(PutObject(BUCKET, key, Facts({}, user)), body)
            except S3Error as refused:
                assert refused.code == code
                assert '"narrow"' in refused.message
                assert reason in refused.message
                assert await body.read() != b"", "the body was received before it was refused"
                assert await made.keys() == []
            else:
                assert code == ""
                assert await made.settle() == 0
                assert await made.copies(key) == {"wide", "narrow"}

    asyncio.run(scene())


def test_uploads_and_copies_are_refused_the_same_way(tmp_path: Path) -> None:
    async def scene() -> None:
        async with engine(tmp_path, [MemoryGrid("wide"), narrow()]) as made:
            with pytest.raises(S3Error, match="KeyTooLongError"):
                await made.store.create_multipart_upload(CreateMultipartUpload(BUCKET, "k" * 15, Facts(), None))
            with pytest.raises(S3Error, match="EntityTooLarge"):
                await made.upload("k", [b"x" * 1001])
            await made.put("k", b"x")
            with pytest.raises(S3Error, match="InvalidArgument"):
                await made.store.copy_object(CopyObject(BUCKET, "a//b", CopySource(BUCKET, "k"), False, Facts()))

    asyncio.run(scene())
