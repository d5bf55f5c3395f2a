"""What child processes of the SQLite tests do with an index: `python -m tests.unit.sqlite_children TASK FOLDER NUMBER`."""

import asyncio
import os
import sys
from pathlib import Path

from holdfast.clock import SystemClock
from holdfast.errors import S3Error
from holdfast.events import Teller
from holdfast.index.interface import NewVersion
from holdfast.index.sqlite import SqliteIndex
from holdfast.model import ALWAYS, Bucket, Facts, Presence, WriteCondition

RACES = 60
KEPT = 40


def small(key: str, body: bytes, owes: tuple[int, ...], condition: WriteCondition = ALWAYS) -> NewVersion:
    return NewVersion("b", key, len(body), "e", 1, Facts(), owes, inline=body, crc=1, condition=condition)


async def opened(folder: Path) -> tuple[SqliteIndex, tuple[int, ...]]:
    index = SqliteIndex(folder / "index.db", clock=SystemClock(), teller=Teller(), node="n")
    await index.open()
    grid = await index.register_grid("a", "identity", "folder:a")
    try:
        await index.create_bucket(Bucket("b", 1, ""))
    except S3Error as error:
        assert error.code == "BucketAlreadyOwnedByYou"
    return index, (grid.id,)


async def race(folder: Path, number: int) -> None:
    """Try to create each of RACES keys, ten at a time; print those won. And keep one key of its own busy."""
    index, owes = await opened(folder)
    absent = WriteCondition(Presence.ABSENT)
    won: list[str] = []

    async def attempt(key: str) -> None:
        try:
            await index.put(small(key, b"%d" % number, owes, absent))
        except S3Error as error:
            assert error.code == "PreconditionFailed"
            found = await index.get("b", key)
            assert found is not None, "the winner's commit is not visible to the loser"
        else:
            won.append(key)
        await index.put(small(f"own-{number}", b"12345", owes))

    for start in range(0, RACES, 10):
        await asyncio.gather(*[attempt(f"k{position}") for position in range(start, start + 10)])
    await index.close()
    print(*won)


async def vanish(folder: Path, number: int) -> None:
    """Commit KEPT keys, say so, and be gone in the middle of more."""
    index, owes = await opened(folder)
    await asyncio.gather(*[index.put(small(f"k{position}", b"kept", owes)) for position in range(KEPT)])
    more = [asyncio.ensure_future(index.put(small(f"x{position}", b"more", owes))) for position in range(500)]
    await asyncio.wait(more, return_when=asyncio.FIRST_COMPLETED)
    print(*[position for position, put in enumerate(more) if put.done()], flush=True)
    os._exit(9)


if __name__ == "__main__":
    tasks = {"race": race, "vanish": vanish}
    asyncio.run(tasks[sys.argv[1]](Path(sys.argv[2]), int(sys.argv[3])))
