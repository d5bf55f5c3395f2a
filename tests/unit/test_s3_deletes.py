"""Deletions that share a request: each caller hears what was said of its own key, and nothing else is ever believed."""

import asyncio
import base64
import hashlib
from collections.abc import Callable

import pytest

from holdfast.errors import GridError, Reason, Refused, Unavailable, Uncertain
from holdfast.events import Event, Noted
from holdfast.grids.s3.grid import S3Grid
from holdfast.model import Place
from holdfast.xml import element, parse_xml
from tests.unit.scripted import Reaction, Scripted, Seen, attached, error, reply, serving

KEYS = tuple(f"{number}.jpg" for number in range(6))
Answer = Callable[[Seen], Reaction]
Outcomes = dict[str, BaseException | None]


def names_of(request: Seen) -> list[str]:
    tree = parse_xml(request.body, "Delete")
    return [item.get("Key") or "" for item in tree.all("Object")]


def deleted(*names: str) -> str:
    return "".join(f"<Deleted>{element('Key', name)}</Deleted>" for name in names)


def failed(name: str, code: str) -> str:
    return f"<Error>{element('Key', name)}<Code>{code}</Code><Message>told by the script</Message></Error>"


def told(*results: str) -> Reaction:
    return reply(200, f"<DeleteResult>{''.join(results)}</DeleteResult>".encode())


def everything(request: Seen) -> Reaction:
    """Do what is asked."""
    return reply(204) if request.method == "DELETE" else told(deleted(*names_of(request)))


def batches_meet(answer: Answer | Reaction) -> Answer:
    """Single deletions succeed."""

    def react(request: Seen) -> Reaction:
        if request.method == "DELETE":
            return reply(204)
        return answer if isinstance(answer, Reaction) else answer(request)

    return react


async def delete_all(grid: S3Grid, keys: tuple[str, ...], bucket: str = "photos") -> Outcomes:
    found = await asyncio.gather(*(grid.delete(Place(bucket, key)) for key in keys), return_exceptions=True)
    return dict(zip(keys, found, strict=True))


def run(
    answer: Answer, keys: tuple[str, ...] = KEYS, *, url: str = "s3://bucket", row: str = "holdfast"
) -> tuple[Outcomes, Scripted]:
    """What callers at the same moment hear."""

    async def deleting() -> tuple[Outcomes, Scripted]:
        async with serving() as script, attached(script, url, row) as grid:
            script.then(*[answer] * (2 * len(keys)))
            return await delete_all(grid, keys), script

    return asyncio.run(deleting())


def posts(script: Scripted) -> list[Seen]:
    return [seen for seen in script.seen if seen.method == "POST"]


def test_deletions_at_once_share_a_request() -> None:
    outcomes, script = run(everything)
    assert set(outcomes.values()) == {None}
    assert script.asked == ["DELETE /bucket/photos/0.jpg", "POST /bucket?delete="]
    (batch,) = posts(script)
    assert names_of(batch) == [f"photos/{key}" for key in KEYS[1:]]
    assert parse_xml(batch.body, "Delete").get("Quiet") == "false"
    digest = hashlib.md5(batch.body, usedforsecurity=False).digest()
    assert batch.headers["content-md5"] == base64.b64encode(digest).decode()
    assert "content-md5" in batch.headers["authorization"]


def test_a_lone_deletion_is_a_plain_one() -> None:
    async def deleting() -> list[str]:
        async with serving() as script, attached(script, row="holdfast") as grid:
            script.then(*[everything] * 3)
            for key in KEYS[:3]:
                await grid.delete(Place("photos", key))
            return script.asked

    assert asyncio.run(deleting()) == [f"DELETE /bucket/photos/{key}" for key in KEYS[:3]]


def test_two_at_once_are_two_plain_ones() -> None:
    outcomes, script = run(everything, KEYS[:2])
    assert set(outcomes.values()) == {None}
    assert script.asked == [f"DELETE /bucket/photos/{key}" for key in KEYS[:2]]


@pytest.mark.parametrize("row", ["other", "google"])
def test_a_vendor_that_does_not_say_that_it_takes_batches_gets_none(row: str) -> None:
    outcomes, script = run(everything, row=row)
    assert set(outcomes.values()) == {None}
    assert sorted(script.asked) == [f"DELETE /bucket/photos/{key}" for key in KEYS]


def test_a_request_has_at_most_as_many_keys_as_the_vendor_takes() -> None:
    keys = tuple(f"{number:04}" for number in range(2300))
    outcomes, script = run(everything, keys)
    assert set(outcomes.values()) == {None}
    assert sorted(len(names_of(batch)) for batch in posts(script)) == [299, 1000, 1000]


def test_callers_of_one_key_share_its_outcome() -> None:
    async def deleting() -> tuple[list[BaseException | None], Scripted]:
        async with serving() as script, attached(script, row="holdfast") as grid:
            script.then(*[everything] * 5)
            places = [Place("photos", key) for key in ("lone", "a", "b", "a")]
            return await asyncio.gather(*(grid.delete(place) for place in places), return_exceptions=True), script

    outcomes, script = asyncio.run(deleting())
    assert outcomes == [None] * 4
    assert [names_of(batch) for batch in posts(script)] == [["photos/a", "photos/b"]]


@pytest.mark.parametrize(
    "key", ["\x01", "a\x00b", "a\nb", "a\rb", "a\tb", "a\x85b", "\ufffe", " a", "a ", "a  b", "\u2028a", "\u00a0"]
)
def test_names_that_a_parser_may_change_go_singly(key: str) -> None:
    outcomes, script = run(everything, ("lone", key, "b", "c"), url="s3://{bucket}", row="aws")
    assert set(outcomes.values()) == {None}
    assert [names_of(batch) for batch in posts(script)] == [["b", "c"]]
    assert sum(line.startswith("DELETE") for line in script.asked) == 2


def test_markup_in_names_is_escaped() -> None:
    keys = ("lone", "a<b>&amp;\"'", "]]>", "ü/€/😀", "</Key><Key>b")
    outcomes, script = run(everything, keys)
    assert set(outcomes.values()) == {None}
    assert [names_of(batch) for batch in posts(script)] == [[f"photos/{key}" for key in keys[1:]]]


# --- outcomes ---


def test_each_caller_hears_what_was_said_of_its_key() -> None:
    names = [f"photos/{key}" for key in KEYS]
    outcomes, _ = run(
        batches_meet(
            told(
                failed(names[1], "AccessDenied"),
                failed(names[2], "InternalError"),
                deleted(names[3]),
                failed(names[4], "SlowDown"),
                failed(names[5], "NoSuchKey"),
            )
        )
    )
    assert outcomes[KEYS[0]] is outcomes[KEYS[3]] is outcomes[KEYS[5]] is None
    denied, internal, slow = (outcomes[KEYS[number]] for number in (1, 2, 4))
    assert isinstance(denied, Unavailable) and denied.lasting and "permission" in denied.detail
    assert isinstance(internal, Uncertain)
    assert isinstance(slow, Unavailable) and not slow.lasting
    assert all(isinstance(outcomes[KEYS[number]], GridError) for number in (1, 2, 4))
    assert [getattr(outcomes[KEYS[number]], "key", "") for number in (1, 2, 4)] == [KEYS[1], KEYS[2], KEYS[4]]


@pytest.mark.parametrize(
    "answer",
    [
        told(),
        told(deleted("photos/1.JPG", "1.jpg", "")),
        told("<Deleted/>", "<Error/>"),
        Reaction(b"", "close"),
        Reaction(b"", "reset"),
        reply(200, b"<DeleteResult><Deleted>", length=500, end="close"),
        reply(200, b"<html>welcome</html>"),
        reply(200, b""),
        reply(200, b"<DeleteResult><Deleted><Key>photos/1.jpg</Key></Deleted>"),
        reply(200, b'<!DOCTYPE a [<!ENTITY b "c">]><DeleteResult/>'),
        error(500, "InternalError"),
        reply(504, b"gateway time-out"),
        error(200, "InternalError"),
    ],
)
def test_what_no_answer_names_is_uncertain_for_each_caller(answer: Reaction) -> None:
    outcomes, script = run(batches_meet(answer))
    assert outcomes.pop(KEYS[0]) is None
    for key, outcome in outcomes.items():
        assert isinstance(outcome, Uncertain)
        assert (outcome.operation, outcome.bucket, outcome.key) == ("delete", "photos", key)
    assert len(posts(script)) == 1, "an uncertain change was repeated"


def test_a_server_that_leaves_keys_out_is_asked_singly_the_next_time() -> None:
    async def deleting() -> tuple[list[Outcomes], Scripted, list[Event]]:
        noted: list[Event] = []
        async with serving() as script, attached(script, row="holdfast") as grid:
            grid._deletes._teller.subscribe(noted.append)
            script.then(*[batches_meet(told(deleted("photos/1.jpg")))] * 20)
            return [await delete_all(grid, KEYS) for _ in range(2)], script, noted

    (first, second), script, noted = asyncio.run(deleting())
    assert [key for key in KEYS if first[key] is None] == ["0.jpg", "1.jpg"]
    assert all(outcome is None or isinstance(outcome, Uncertain) for outcome in first.values())
    assert set(second.values()) == {None}
    assert len(posts(script)) == 1
    assert ["one by one" in event.message for event in noted if isinstance(event, Noted)] == [True]


def test_an_error_of_a_key_counts_more_than_its_deletion() -> None:
    name = f"photos/{KEYS[1]}"
    outcomes, _ = run(batches_meet(told(deleted(name), failed(name, "AccessDenied"))))
    assert isinstance(outcomes[KEYS[1]], Unavailable)


@pytest.mark.parametrize(
    ("answer", "lasting"),
    [
        (error(503, "SlowDown", Retry_After="7"), False),
        (error(403, "AccessDenied"), True),
        (error(404, "NoSuchBucket"), True),
    ],
)
def test_a_refused_batch_did_nothing_for_anybody(answer: Reaction, lasting: bool) -> None:
    outcomes, _ = run(batches_meet(answer))
    for key in KEYS[1:]:
        outcome = outcomes[key]
        assert isinstance(outcome, Unavailable)
        assert (outcome.key, outcome.lasting) == (key, lasting)
        assert outcome.retry_after_s == (None if lasting else 7)


def test_a_missing_bucket_has_nothing_to_delete_where_each_clients_bucket_is_one() -> None:
    outcomes, script = run(batches_meet(error(404, "NoSuchBucket")), url="s3://{bucket}")
    assert set(outcomes.values()) == {None}
    assert len(posts(script)) == 1


@pytest.mark.parametrize(
    "answer", [error(501, "NotImplemented"), error(405, "MethodNotAllowed"), error(404, "NoSuchKey"), reply(404)]
)
def test_a_server_that_takes_no_batches_is_asked_once(answer: Reaction) -> None:
    async def deleting() -> Scripted:
        async with serving() as script, attached(script, row="holdfast") as grid:
            script.then(*[batches_meet(answer)] * 30)
            for _ in range(2):
                assert set((await delete_all(grid, KEYS)).values()) == {None}
            return script

    script = asyncio.run(deleting())
    assert len(posts(script)) == 1
    assert sorted(line for line in script.asked if "DELETE" in line) == sorted(
        f"DELETE /bucket/photos/{key}" for key in KEYS * 2
    )


def test_nothing_is_deleted_where_the_identity_is_gone() -> None:
    async def deleting() -> tuple[Outcomes, Scripted]:
        async with serving() as script, attached(script, row="holdfast") as grid:
            script.identity = b""
            grid._identity._seen_s = float("-inf")
            return await delete_all(grid, KEYS), script

    outcomes, script = asyncio.run(deleting())
    assert all(isinstance(outcome, Unavailable) for outcome in outcomes.values())
    assert script.asked == []


def test_a_batch_looks_at_the_identity_once() -> None:
    async def deleting() -> int:
        async with serving() as script, attached(script, row="holdfast") as grid:
            script.then(*[everything] * 3)
            before = sum(".holdfast/identity" in seen.target for seen in script.seen)
            grid._identity._seen_s = float("-inf")
            await delete_all(grid, KEYS)
            return sum(".holdfast/identity" in seen.target for seen in script.seen) - before

    assert asyncio.run(deleting()) in (1, 2), "one for the plain deletion, at most one for the batch"


# --- callers that leave ---


async def begin(grid: S3Grid, group: asyncio.TaskGroup, keys: tuple[str, ...]) -> list[asyncio.Task[None]]:
    """Deletions at the same moment, all of them waiting."""
    tasks = [group.create_task(grid.delete(Place("photos", key))) for key in keys]
    await asyncio.sleep(0)
    return tasks


@pytest.mark.parametrize("leaves", range(1, len(KEYS)))
def test_a_caller_that_leaves_before_the_request_takes_only_its_own_key_with_it(leaves: int) -> None:
    async def deleting() -> tuple[list[asyncio.Task[None]], Scripted]:
        async with serving() as script, attached(script, row="holdfast") as grid:
            script.then(*[everything] * 3)
            async with asyncio.TaskGroup() as group:
                tasks = await begin(grid, group, KEYS)
                tasks[leaves].cancel()
            return tasks, script

    tasks, script = asyncio.run(deleting())
    assert [task.cancelled() for task in tasks] == [number == leaves for number in range(len(KEYS))]
    (batch,) = posts(script)
    assert names_of(batch) == [f"photos/{key}" for number, key in enumerate(KEYS) if number not in (0, leaves)]


def test_a_caller_that_leaves_during_the_request_harms_nobody() -> None:
    async def deleting() -> list[asyncio.Task[None]]:
        async with serving() as script, attached(script, row="holdfast") as grid:
            async with asyncio.TaskGroup() as group:
                tasks = await begin(grid, group, KEYS)

                def leaving(request: Seen) -> Reaction:
                    tasks[1].cancel()
                    return everything(request)

                script.then(everything, leaving)
            return tasks

    tasks = asyncio.run(deleting())
    assert [task.cancelled() for task in tasks] == [False, True, False, False, False, False]


def test_when_everybody_left_the_request_is_cut_off() -> None:
    async def deleting() -> None:
        async with serving() as script, attached(script, row="holdfast") as grid:
            arrived = asyncio.Event()

            def silent(request: Seen) -> Reaction:
                arrived.set()
                return Reaction()

            script.then(everything, silent)
            async with asyncio.TaskGroup() as group:
                tasks = await begin(grid, group, KEYS)
                await arrived.wait()
                (request,) = grid._deletes._tasks
                for task in tasks:
                    task.cancel()
            await asyncio.wait([request], timeout=10)
            assert request.cancelled()
            script.then(*[everything] * 3)
            assert set((await delete_all(grid, KEYS)).values()) == {None}

    asyncio.run(deleting())


def test_a_request_that_hangs_holds_up_nobody_else() -> None:
    async def deleting() -> None:
        async with serving() as script, attached(script, row="holdfast") as grid:
            script.then(Reaction(), *[everything] * 3)
            async with asyncio.TaskGroup() as group:
                hanging, *others = await begin(grid, group, KEYS)
                await asyncio.gather(*others)
                assert not hanging.done()
                hanging.cancel()

    asyncio.run(deleting())


def test_closing_the_grid_leaves_nobody_waiting() -> None:
    async def deleting() -> Outcomes:
        async with serving() as script, attached(script, row="holdfast") as grid:
            arrived = asyncio.Event()

            def silent(request: Seen) -> Reaction:
                arrived.set()
                return Reaction()

            script.then(everything, silent)
            waiting = asyncio.gather(delete_all(grid, KEYS))
            await arrived.wait()
            await grid.close()
            return (await waiting)[0]

    outcomes = asyncio.run(deleting())
    assert outcomes.pop(KEYS[0]) is None
    assert all(isinstance(outcome, Uncertain) for outcome in outcomes.values())


def test_closing_the_grid_before_a_batch_began_leaves_nobody_waiting() -> None:
    async def deleting() -> list[BaseException | None]:
        async with serving() as script, attached(script, row="holdfast") as grid:
            script.then(Reaction())
            tasks = [asyncio.ensure_future(grid.delete(Place("photos", key))) for key in KEYS]
            await asyncio.sleep(0)
            await grid.close()
            return await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), 10)

    assert all(isinstance(outcome, Uncertain) for outcome in asyncio.run(deleting()))


def test_a_key_that_is_refused_is_never_sent() -> None:
    outcomes, script = run(everything, (*KEYS, "x" * 2000))
    refused = outcomes["x" * 2000]
    assert isinstance(refused, Refused) and refused.reason is Reason.INVALID
    assert all(b"xxxx" not in batch.body for batch in posts(script))
