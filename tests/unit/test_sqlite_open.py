"""The SQLite file of the index: what is refused at the start, and that queries stay cheap as it grows."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import apsw
import pytest

from holdfast.clock import SystemClock
from holdfast.errors import ConfigError
from holdfast.events import Teller
from holdfast.index.interface import NewVersion, Payment, Pick
from holdfast.index.schema import APPLICATION_ID, STEPS
from holdfast.index.sqlite import SqliteIndex
from holdfast.index.sqlite_debts import DUE
from holdfast.model import Bucket, Facts


@asynccontextmanager
async def opened(path: Path) -> AsyncIterator[SqliteIndex]:
    index = SqliteIndex(path, clock=SystemClock(), teller=Teller(), node="n")
    await index.open()
    try:
        yield index
    finally:
        await index.close()


def open_once(path: Path) -> None:
    async def main() -> None:
        async with opened(path):
            pass

    asyncio.run(main())


# --- what is refused ---


def test_a_new_index_says_what_it_is_and_which_schema_it_has(tmp_path: Path) -> None:
    path = tmp_path / "index.db"
    open_once(path)
    connection = apsw.Connection(str(path))
    assert connection.pragma("application_id") == APPLICATION_ID
    assert connection.pragma("user_version") == len(STEPS)
    assert connection.pragma("journal_mode") == "wal"
    connection.close()


def test_the_schema_of_a_newer_release_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "index.db"
    open_once(path)
    connection = apsw.Connection(str(path))
    connection.pragma("user_version", len(STEPS) + 1)
    connection.close()
    with pytest.raises(ConfigError, match="newer release") as refusal:
        open_once(path)
    assert refusal.value.remedy
    connection = apsw.Connection(str(path))
    assert connection.pragma("user_version") == len(STEPS) + 1
    connection.close()


def test_an_interrupted_migration_begins_again(tmp_path: Path) -> None:
    path = tmp_path / "index.db"
    connection = apsw.Connection(str(path))
    connection.execute("BEGIN").fetchall()
    connection.execute(STEPS[0].statements).fetchall()
    connection.execute("ROLLBACK").fetchall()
    connection.close()
    open_once(path)
    open_once(path)


@pytest.mark.parametrize("damage", ["not a database" * 500, "SQLite format 3\0" + "x" * 5000])
def test_a_file_that_is_no_database_is_refused(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "index.db"
    path.write_text(damage)
    with pytest.raises(ConfigError, match="damaged or not an index") as refusal:
        open_once(path)
    assert "Delete nothing" in refusal.value.remedy
    assert path.read_text() == damage


def test_the_database_of_another_program_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "index.db"
    connection = apsw.Connection(str(path))
    connection.execute("CREATE TABLE bookmarks (url TEXT)").fetchall()
    connection.close()
    with pytest.raises(ConfigError, match="another program"):
        open_once(path)


def test_a_directory_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="lock file cannot be opened"):
        open_once(tmp_path / "absent" / "index.db")


def test_several_processes_may_open_a_new_index_at_once(tmp_path: Path) -> None:
    async def main() -> None:
        async def one() -> None:
            async with opened(tmp_path / "index.db") as index:
                await index.check()

        await asyncio.gather(*[one() for _ in range(6)])

    asyncio.run(main())


def test_debts_of_the_first_schema_are_paid_under_the_present_one(tmp_path: Path) -> None:
    async def main() -> None:
        path = tmp_path / "index.db"
        old = apsw.Connection(str(path))
        old.execute(STEPS[0].statements).fetchall()
        old.execute(
            "INSERT INTO bucket VALUES (1, 'b', 0, '', '', '', NULL);"
            "INSERT INTO grid VALUES (1, 'a', 'identity', 'folder:a', 0, 0, 0, 2, 9, 5);"
            "UPDATE total SET seq = 2, debts = 2, tombstones = 2;"
            "INSERT INTO tombstone VALUES (1, x'61', 1, 7), (1, x'62', 2, 7);"
            "INSERT INTO debt VALUES (1, 1, 1, x'61', 0, 7, 7, 0, '', 0, ''), (2, 1, 1, x'62', 9, 7, 8, 9, 'dead', 0, 'silent');"
        ).fetchall()
        old.pragma("application_id", APPLICATION_ID)
        old.pragma("user_version", 1)
        old.close()
        async with opened(path) as index:
            [sums] = await index.sums()
            assert (sums.debts, sums.paid, sums.paid_bytes, sums.stuck) == (2, 5, 0, 1)
            first, second = await index.claim(1, holder="me", now_ms=100, lease_until_ms=200, limit=9)
            assert (first.key, first.doubt_ms, second.key, second.doubt_ms > 8) == ("a", 0, "b", True)
            await index.settle([Payment(first, None), Payment(second, None)])
            assert (await index.usage()).tombstones == 0

    asyncio.run(main())


# --- what queries cost ---


def plan(connection: apsw.Connection, query: str, bindings: tuple[object, ...]) -> str:
    rows = connection.execute("EXPLAIN QUERY PLAN " + query, bindings).fetchall()
    return "; ".join([str(row[3]) for row in rows])


def test_claiming_walks_along_the_due_debts_only(tmp_path: Path) -> None:
    async def main() -> None:
        async with opened(tmp_path / "index.db") as index:
            walk = "SEARCH debt USING INDEX debt_order (grid=? AND <expr>=? AND due_ms<?)"
            for pick in (Pick.NEWEST, Pick.OLDEST, Pick.LARGE):
                assert plan(index._reader, DUE[pick], (1, 2, 3)) == walk
            told = plan(index._reader, DUE[Pick.ANY], (1, 2, 3))
            assert told.count(walk) == 2
            assert "SCAN debt" not in told

    asyncio.run(main())


async def fill(index: SqliteIndex, keys: list[str], grids: tuple[int, ...]) -> None:
    changes = [NewVersion("b", key, 0, "e", 1, Facts(), grids, crc=0) for key in keys]
    for start in range(0, len(changes), 2000):
        await asyncio.gather(*[index.put(change) for change in changes[start : start + 2000]])


class Steps:
    """Counts the instructions of SQLite's machine that one connection executes."""

    def __init__(self, connection: apsw.Connection) -> None:
        self.counted = 0
        connection.set_progress_handler(self._count, 10)

    def _count(self) -> bool:
        self.counted += 10
        return False

    def take(self) -> int:
        counted, self.counted = self.counted, 0
        return counted


def test_a_common_prefix_costs_one_seek_however_many_keys_lie_below_it(tmp_path: Path) -> None:
    async def main() -> None:
        async with opened(tmp_path / "index.db") as index:
            await index.create_bucket(Bucket("b", 1, ""))
            await fill(index, [f"small{n}/{m}" for n in range(3) for m in range(2)], ())
            steps = Steps(index._reader)
            page = await index.scan("b", prefix="", delimiter="/", after="", limit=10)
            assert len(page.prefixes) == 3
            few = steps.take()
            # The rows of a huge prefix: written at once, as one put each would take the test's time.
            index._committer._connection.execute(
                "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 100000)"
                " INSERT INTO object SELECT bucket, CAST('small1/' || printf('%08d', i) AS BLOB), i, version_id, size, etag,"
                " modified_ms, facts, copies, crc, inline, layout, spool, marks FROM n, (SELECT * FROM object LIMIT 1)"
            ).fetchall()
            page = await index.scan("b", prefix="", delimiter="/", after="", limit=10)
            assert page.prefixes == ("small0/", "small1/", "small2/")
            assert steps.take() <= few + 50
            page = await index.scan("b", prefix="", delimiter="/", after="small1/00050000", limit=10)
            assert page.prefixes == ("small2/",)
            assert steps.take() <= few

    asyncio.run(main())


def test_sums_and_point_reads_do_not_grow_with_the_number_of_debts(tmp_path: Path) -> None:
    async def main() -> None:
        async with opened(tmp_path / "index.db") as index:
            await index.create_bucket(Bucket("b", 1, ""))
            grid = await index.register_grid("a", "identity", "folder:a")
            steps = Steps(index._reader)
            costs: list[int] = []
            for size in (10, 3000):
                await fill(index, [f"k{size}-{number}" for number in range(size)], (grid.id,))
                steps.take()
                (sums,) = await index.sums()
                await index.usage()
                await index.get("b", "k10-5")
                assert await index.debt_of("b", "k10-5") == (grid.id,)
                costs.append(steps.take())
            assert sums.debts == 3010
            assert costs[1] <= costs[0] + 20

    asyncio.run(main())
