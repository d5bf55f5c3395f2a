"""Every grid and every wrapper keeps the contract of `Grid`."""

import asyncio
import os
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from holdfast.clock import SystemClock
from holdfast.errors import Reason, Refused
from holdfast.events import Teller
from holdfast.grids.folder import FolderGrid
from holdfast.grids.grid import Grid
from holdfast.grids.memory import MemoryGrid
from holdfast.model import Place
from holdfast.testing.certify import Finding, certify
from holdfast.testing.contract import CHECKS, Check, NotApplicable
from holdfast.testing.contract.check import put
from holdfast.testing.faults import Fault, FaultGrid, Kind
from holdfast.wrappers.breaker import BreakerGrid, Breakers
from holdfast.wrappers.coats import put_on
from holdfast.wrappers.deadline import DeadlineGrid
from holdfast.wrappers.limit import LimitGrid
from holdfast.wrappers.trace import TraceGrid

CLOCK = SystemClock()
Wrap = Callable[[Grid], Grid]


def _breakers() -> Breakers:
    return Breakers("grid", clock=CLOCK, teller=Teller())


WRAPS: dict[str, Wrap] = {
    "bare": lambda grid: grid,
    "deadline": lambda grid: DeadlineGrid(grid, deadline_s=60.0),
    "limit": lambda grid: LimitGrid(grid, concurrency=64),
    "breaker": lambda grid: BreakerGrid(grid, _breakers()),
    "trace": lambda grid: TraceGrid(grid, clock=CLOCK, teller=Teller()),
    "faults": lambda grid: FaultGrid(grid, clock=CLOCK),
    "coats": lambda grid: put_on(grid, breakers=_breakers(), clock=CLOCK, teller=Teller(), deadline_s=60.0),
}


class Places:
    """Opens one place again and again, under the identity that it was first given."""

    def __init__(self, open_grid: Callable[[], Grid]) -> None:
        self._open = open_grid
        self._identity = ""

    async def __call__(self) -> Grid:
        grid = self._open()
        self._identity = await grid.attach(self._identity)
        return grid


def _run(check: Check, make: Callable[[], Awaitable[Grid]]) -> None:
    try:
        asyncio.run(check.run(make))
    except NotApplicable as reason:
        pytest.skip(str(reason))


@pytest.mark.parametrize("check", CHECKS, ids=repr)
@pytest.mark.parametrize("wrap", WRAPS)
def test_memory_keeps_the_contract(check: Check, wrap: str) -> None:
    memory = MemoryGrid("grid")
    _run(check, Places(lambda: WRAPS[wrap](memory)))


@pytest.mark.parametrize("check", CHECKS, ids=repr)
def test_folder_keeps_the_contract(check: Check, tmp_path: Path) -> None:
    _run(check, Places(lambda: FolderGrid("grid", tmp_path / "root", clock=CLOCK)))


@pytest.mark.parametrize("check", CHECKS, ids=repr)
@pytest.mark.parametrize("wrap", [wrap for wrap in WRAPS if wrap != "bare"])
def test_wrapped_folder_keeps_the_contract(
    check: Check, wrap: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Whether a coat passes everything on does not depend on the disk's pace; the bare folder is tested with all its flushes.
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)
    monkeypatch.setattr("holdfast.grids.folder.flush._syncfs", lambda descriptor: 0)
    _run(check, Places(lambda: WRAPS[wrap](FolderGrid("grid", tmp_path / "root", clock=CLOCK))))


@pytest.mark.parametrize("check", CHECKS, ids=repr)
def test_folder_keeps_the_contract_without_flushing_the_whole_file_system(
    check: Check, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("holdfast.grids.folder.place._FLUSHED_WHOLE", frozenset())
    _run(check, Places(lambda: FolderGrid("grid", tmp_path / "root", clock=CLOCK)))


def _certify(open_grid: Callable[[], Grid], release: Callable[[Grid], Awaitable[None]] | None = None) -> list[Finding]:
    async def collect() -> list[Finding]:
        return [finding async for finding in certify(open_grid, clock=CLOCK, release=release)]

    return asyncio.run(collect())


def test_certify_finds_a_good_folder_good_and_leaves_it_as_it_was(tmp_path: Path) -> None:
    async def release(grid: Grid) -> None:
        assert isinstance(grid, FolderGrid)
        await grid.release()

    findings = _certify(lambda: FolderGrid("grid", tmp_path, clock=CLOCK), release)
    assert [finding for finding in findings if finding.outcome == "broken"] == []
    assert len(findings) == len(CHECKS)
    assert list(tmp_path.iterdir()) == []


def test_certify_refuses_a_folder_that_an_index_uses(tmp_path: Path) -> None:
    async def use() -> None:
        grid = FolderGrid("grid", tmp_path, clock=CLOCK)
        await grid.attach("")
        await put(grid, "bucket", "key", b"x")
        await grid.close()

    asyncio.run(use())
    with pytest.raises(Refused) as refused:
        _certify(lambda: FolderGrid("grid", tmp_path, clock=CLOCK))
    assert refused.value.reason is Reason.DENIED


@pytest.mark.parametrize(
    ("kind", "operation"),
    [
        (Kind.REFUSE, "publish"),
        (Kind.FULL, "stage"),
        (Kind.ABSENT, "get"),
        (Kind.CORRUPT, "get"),
        (Kind.TRUNCATED, "get"),
        (Kind.TRUNCATED, "list"),
        (Kind.WRONG_ETAG, "publish"),
        (Kind.WRONG_ETAG, "get"),
        (Kind.WRONG_ETAG, "head"),
        (Kind.WRONG_ETAG, "list"),
        (Kind.LOST_ANSWER, "publish"),
    ],
)
def test_certify_finds_a_misbehaving_grid_out(kind: Kind, operation: str) -> None:
    memory = MemoryGrid("grid")

    def open_grid() -> Grid:
        grid = FaultGrid(memory, clock=CLOCK)
        grid.inject(Fault(kind), operation)
        return grid

    # Without its listing a grid cannot be swept, so what is left over is removed by hand.
    broken = [finding.name for finding in _certify(open_grid) if finding.outcome == "broken"]
    assert broken


def test_every_check_says_what_it_promises() -> None:
    assert len({check.name for check in CHECKS}) == len(CHECKS) > 20
    assert all(check.promise.endswith(".") for check in CHECKS)


def test_the_suite_leaves_nothing_behind(tmp_path: Path) -> None:
    async def run() -> None:
        make = Places(lambda: FolderGrid("grid", tmp_path, clock=CLOCK))
        for check in CHECKS:
            await check.run(make)
        grid = await make()
        assert await grid.list("contract") == ()
        await grid.delete(Place("contract", "nothing"))
        await grid.close()

    asyncio.run(run())
    assert [path.name for path in tmp_path.iterdir()] == [".holdfast"]
    assert list((tmp_path / ".holdfast" / "tmp").iterdir()) == []
