"""Threads that can be abandoned."""

import asyncio
import threading

import pytest

from holdfast.crew import Crew, CrewFull


def test_results_and_exceptions_come_back_to_their_callers() -> None:
    async def scene() -> None:
        crew = Crew("t", size=2, waiting=100)
        results = await asyncio.gather(*(crew.do(divmod, 10, n) for n in (1, 2, 0, 5)), return_exceptions=True)
        assert results[0] == (10, 0)
        assert results[1] == (5, 0)
        assert isinstance(results[2], ZeroDivisionError)
        assert results[3] == (2, 0)
        crew.close()

    asyncio.run(scene())


def test_a_full_crew_refuses_at_once_and_loses_nothing() -> None:
    async def scene() -> None:
        crew = Crew("t", size=1, waiting=2)
        started, hold = threading.Event(), threading.Event()

        def block() -> str:
            started.set()
            hold.wait()
            return "held"

        first = crew.submit(block)
        await asyncio.to_thread(started.wait)
        waiting = [crew.submit(lambda: "waited") for _ in range(2)]
        with pytest.raises(CrewFull):
            crew.submit(lambda: "too much")
        hold.set()
        assert await first == "held"
        assert await asyncio.gather(*waiting) == ["waited", "waited"]
        crew.close()

    asyncio.run(scene())


def test_a_cancelled_job_that_has_not_begun_never_runs() -> None:
    async def scene() -> None:
        crew = Crew("t", size=1, waiting=10)
        started, hold = threading.Event(), threading.Event()
        ran: list[str] = []

        def block() -> None:
            started.set()
            hold.wait()

        first = crew.submit(block)
        await asyncio.to_thread(started.wait)
        dropped = crew.submit(ran.append, "dropped")
        last = crew.submit(ran.append, "last")
        dropped.cancel()
        hold.set()
        await first
        await last
        assert ran == ["last"]
        crew.close()

    asyncio.run(scene())


def test_many_jobs_use_no_more_threads_than_allowed() -> None:
    async def scene() -> None:
        crew = Crew("bounded", size=3, waiting=10_000)
        names: set[str] = set()

        def note() -> None:
            names.add(threading.current_thread().name)

        await asyncio.gather(*(crew.do(note) for _ in range(2000)))
        assert 1 <= len(names) <= 3
        crew.close()

    asyncio.run(scene())
