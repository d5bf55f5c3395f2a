"""Power loss at every flush of one run: what was acknowledged is there, whole, whatever else is lost or torn.

`HOLDFAST_POWER_CUTS=all` cuts at every flush, just before and just after, and between; otherwise a sample is cut. The disk loses
what POSIX lets it lose, see `holdfast.testing.simulation.volume`.
"""

import asyncio
import os
import random
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import apsw
import pytest

from holdfast.clock import SystemClock
from holdfast.config.credentials import root_credentials
from holdfast.grids.folder import FolderGrid, flush
from holdfast.index import sqlite, sqlite_commit, sqlite_open
from holdfast.spool.spool import Spool
from holdfast.testing.simulation.disk import Disk
from holdfast.testing.simulation.volume import Draw, everything, nothing
from tests.crashes.conftest import SEED
from tests.crashes.power import Lost, Recording, everything_once
from tests.crashes.tally import TALLY
from tests.engine import Engine

pytestmark = pytest.mark.slow

_ALL = os.environ.get("HOLDFAST_POWER_CUTS") == "all"
_SAMPLE = 18
"""Cuts of each run when not all of them are made."""
_BETWEEN = 60
"""Cuts beside those at flushes when all are made."""
_CHECKPOINT_PAGES = 40
"""So that the index makes checkpoints during a short run."""


@pytest.fixture(autouse=True)
def _checkpoints_are_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite_commit, "_CHECKPOINT_PAGES", _CHECKPOINT_PAGES)


def record(folder: Path, ack: int) -> Recording:
    made = Recording(folder, ack=ack, seed=SEED)
    made.run(everything_once)
    return made


def cuts(made: Recording, dice: random.Random) -> Iterator[tuple[int, Draw, Draw | None]]:
    """Where to cut, what survives, and what survives a second cut if there is one."""
    if _ALL:
        between = dice.sample(range(len(made.disk.log)), min(_BETWEEN, len(made.disk.log)))
        for upto in sorted({*made.boundaries(), *between}):
            yield from ((upto, nothing, None), (upto, everything, None), (upto, dice.random, dice.random))
        return
    for _ in range(_SAMPLE):
        upto = dice.choice(made.boundaries()) if dice.random() < 0.8 else dice.randrange(len(made.disk.log))
        draw, again = dice.choice(
            ((nothing, None), (everything, None), (dice.random, None), (dice.random, dice.random))
        )
        yield upto, draw, again


@contextmanager
def place(folder: Path) -> Iterator[Path]:
    """A name below `folder`; what is made there goes again."""
    path = folder / "left"
    try:
        yield path
    finally:
        for made in folder.glob("left*"):
            shutil.rmtree(made)


@pytest.mark.timeout(3600)
@pytest.mark.parametrize(("ack", "whole"), [(0, True), (1, False), (2, True)])
def test_power_loss_takes_nothing_that_was_acknowledged(
    tmp_path: Path, dice: random.Random, monkeypatch: pytest.MonkeyPatch, ack: int, whole: bool
) -> None:
    if not whole:
        monkeypatch.setattr(flush, "FOLDER_FLUSH_WHOLE", 1 << 30)  # Each file and directory is flushed by itself.
    made = record(tmp_path, ack)
    kinds = {op.kind for op in made.disk.log}
    assert {"fsync", "link", "rename", "unlink", "rmdir", "truncate", "setxattr", "utime"} <= kinds
    assert ("syncfs" in kinds) == whole
    checked = 0
    for upto, draw, again in cuts(made, dice):
        acknowledged = made.acknowledged(upto)
        try:
            with place(tmp_path) as folder:
                made.check(upto, draw, folder, again=again)
        except Lost:
            TALLY.lost += 1
            raise
        TALLY.cuts += 1 + (again is not None)
        TALLY.checked += acknowledged
        checked += acknowledged
    assert checked


# --- the check can fail: what a planted mistake breaks is found ---


def first_loss(made: Recording, folder: Path) -> str:
    """Cut after each acknowledgement, and lose all that was not flushed, until something is lost; how that was told."""
    log = made.disk.log
    for upto in [at for at, op in enumerate(log, 1) if op.name.startswith("done")]:
        try:
            with place(folder) as left:
                made.check(upto, nothing, left)
        except Lost as lost:
            return str(lost)
    return ""


def without_flush(monkeypatch: pytest.MonkeyPatch, disk: Disk, which: Callable[[str], bool]) -> None:
    """Flushes of what has such a path do nothing."""
    for call in ("fsync", "fdatasync"):
        real = getattr(os, call)

        def forget(descriptor: int, real: Callable[[int], None] = real) -> None:
            held = disk.descriptors.get(descriptor)
            if held is None or not which(held.path):
                real(descriptor)

        monkeypatch.setattr(os, call, forget)


async def a_few(record: Recording, made: Engine) -> None:
    """Writes and deletions one after the other, so that nothing shares a flush by chance."""
    for number, size_bytes in enumerate((100, 70_000, 80_000, 200)):
        await record.put(made, f"new/{number}", size_bytes)
    await made.settle()
    await record.put(made, "new/1", 90_000)
    await record.delete(made, "new/2")
    await made.settle()


def is_spool_file(path: str) -> bool:
    return path.startswith("spool/") and path.count("/") == 2


def is_spool_folder(path: str) -> bool:
    return path.startswith("spool/") and path.count("/") == 1


def is_bucket_folder(path: str) -> bool:
    return path.startswith("grids/") and "/photos" in path


def is_staged(path: str) -> bool:
    return "/.holdfast/tmp/" in path


@pytest.mark.parametrize(
    ("ack", "which"),
    [(0, is_spool_file), (0, is_spool_folder), (1, is_bucket_folder), (2, is_staged)],
)
def test_a_flush_that_is_left_out_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ack: int, which: Callable[[str], bool]
) -> None:
    made = Recording(tmp_path, ack=ack, seed=SEED)

    async def forgetful(record: Recording, engine: Engine) -> None:
        with monkeypatch.context() as patch:
            without_flush(patch, record.disk, which)
            await a_few(record, engine)

    made.run(forgetful)
    assert first_loss(made, tmp_path)


def test_an_index_that_does_not_flush_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    honest = sqlite_open.open_writer

    def hasty(path: Path) -> apsw.Connection:
        connection = honest(path)
        connection.execute("PRAGMA synchronous = OFF").fetchall()
        return connection

    monkeypatch.setattr(sqlite, "open_writer", hasty)
    made = Recording(tmp_path, ack=0, seed=SEED)
    made.run(a_few)
    monkeypatch.undo()
    assert first_loss(made, tmp_path)


def test_without_a_mistake_the_same_writes_are_kept(tmp_path: Path) -> None:
    for ack in (0, 1, 2):
        made = Recording(tmp_path / f"{ack}", ack=ack, seed=SEED)
        made.run(a_few)
        assert first_loss(made, tmp_path / f"{ack}") == ""


# --- what was found ---


def test_a_grid_below_new_directories_is_there_after_power_loss(tmp_path: Path) -> None:
    disk = Disk(tmp_path / "disk")
    with disk.installed():
        grid = FolderGrid("a", disk.root / "srv" / "deep" / "a", clock=SystemClock())
        asyncio.run(grid.attach(""))
    assert "srv/deep/a/.holdfast/offered" in disk.image(nothing).names


def test_a_new_data_directory_is_there_after_power_loss(tmp_path: Path) -> None:
    disk = Disk(tmp_path / "disk")
    with disk.installed():
        root_credentials(disk.root / "new" / "data" / "credentials", {}, SystemClock())
        Spool(disk.root / "other" / "new" / "spool", limit_bytes=1, clock=SystemClock()).open()
    left = disk.image(nothing)
    assert "new/data/credentials" in left.names
    assert "other/new/spool/ff" in left.folders
