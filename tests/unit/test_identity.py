"""Whose place a remote location is: what is believed of one that came back without its identity."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from holdfast.errors import Unavailable
from holdfast.grids.identity import Identity
from holdfast.limits import S3_CHANGE_S, S3_EMPTY_S, S3_FRESH, S3_FRESH_SKEW_S
from tests.promises.troubled import LeapClock


class FakeMarks:
    """A place in memory. `objects` are names with the time they were written and whether they carry our label."""

    kind, home, where, name = "bucket", "store", "s3://store/", "s3://store/.holdfast/identity"

    def __init__(self) -> None:
        self.data: bytes | None = None
        self.objects: dict[str, tuple[int, bool]] = {}
        self.reads = 0
        self.looks = 0

    async def make_place(self) -> bool:
        return False

    async def read(self) -> bytes | None:
        self.reads += 1
        return self.data

    async def write(self, data: bytes, *, fresh: bool) -> None:
        if not (fresh and self.data is not None):
            self.data = data

    async def remove(self) -> None:
        self.data = None

    async def has_objects(self) -> bool:
        return bool(self.objects)

    async def names(self, *, limit: int) -> tuple[str, ...]:
        return tuple(self.objects)[:limit]

    async def is_fresh(self, name: str, since_ms: int) -> bool:
        self.looks += 1
        modified_ms, ours = self.objects[name]
        return ours and modified_ms >= since_ms

    def wipe(self) -> None:
        self.data = None
        self.objects.clear()


class Scene:
    """A place that is attached and claimed."""

    def __init__(self) -> None:
        self.clock = LeapClock()
        self.marks = FakeMarks()
        self.identity = Identity("two", self.marks, clock=self.clock)
        self.known = ""

    async def begin(self) -> None:
        self.known = await self.identity.attach(await self.identity.attach(""))
        await self.identity.claim()

    def write(self, name: str, *, ours: bool = True, ago_s: float = 0.0) -> None:
        self.marks.objects[name] = (self.clock.now_ms() - int(ago_s * 1000), ours)

    async def is_barred(self, identity: Identity | None = None) -> None:
        """It stays down, however long it is left so, and says what an operator can do."""
        for _ in range(3):
            with pytest.raises(Unavailable, match=r"remove all objects there.*put s3://store/\.holdfast/identity back"):
                await (identity or self.identity).attach(self.known)
            self.clock.leap(S3_EMPTY_S)

    async def is_replaced(self) -> None:
        with pytest.raises(Unavailable, match=f"it is empty.*If it still is {S3_EMPTY_S:g} s from now"):
            await self.identity.attach(self.known)
        self.clock.leap(S3_EMPTY_S)
        assert await self.identity.attach(self.known) != self.known


def play(scene: Callable[[Scene], Awaitable[None]]) -> None:
    async def run() -> None:
        made = Scene()
        await made.begin()
        await scene(made)

    asyncio.run(run())


def test_a_place_that_came_back_with_nothing_but_our_own_fresh_writes_counts_as_replaced() -> None:
    async def scene(made: Scene) -> None:
        made.marks.wipe()
        made.clock.leap(3.0)
        for number in range(S3_FRESH):
            made.write(f"photos/{number}")
        await made.is_replaced()

    play(scene)


@pytest.mark.parametrize("clock_behind_s", [0.0, S3_FRESH_SKEW_S - 1.0])
def test_the_providers_clock_may_be_a_little_behind(clock_behind_s: float) -> None:
    async def scene(made: Scene) -> None:
        made.marks.wipe()
        made.write("photos/k", ago_s=clock_behind_s)
        await made.is_replaced()

    play(scene)


def test_a_place_with_one_object_that_carries_no_label_of_ours_is_not_taken() -> None:
    async def scene(made: Scene) -> None:
        made.marks.wipe()
        made.write("photos/k")
        made.write("photos/theirs", ours=False)
        await made.is_barred()
        del made.marks.objects["photos/theirs"]
        await made.is_replaced()

    play(scene)


def test_a_place_with_objects_from_before_it_was_last_seen_only_lost_its_identity() -> None:
    async def scene(made: Scene) -> None:
        made.marks.wipe()
        made.write("photos/k")
        made.write("photos/old", ago_s=S3_FRESH_SKEW_S + 1.0)
        await made.is_barred()

    play(scene)


def test_a_place_with_many_objects_is_not_looked_through() -> None:
    async def scene(made: Scene) -> None:
        made.marks.wipe()
        for number in range(S3_FRESH + 1):
            made.write(f"photos/{number}")
        await made.is_barred()
        assert not made.marks.looks

    play(scene)


def test_a_process_that_never_saw_its_identity_there_does_not_take_objects_for_its_own() -> None:
    async def scene(made: Scene) -> None:
        made.marks.wipe()
        made.write("photos/k")
        await made.is_barred(Identity("two", made.marks, clock=made.clock))

    play(scene)


def test_the_identity_that_comes_back_during_the_wait_is_the_place_again() -> None:
    async def scene(made: Scene) -> None:
        marker = made.marks.data
        made.marks.wipe()
        made.write("photos/k")
        with pytest.raises(Unavailable):
            await made.identity.attach(made.known)
        made.clock.leap(S3_EMPTY_S)
        made.marks.data = marker
        assert await made.identity.attach(made.known) == made.known

    play(scene)


def test_nothing_is_changed_in_a_place_that_was_not_looked_at_lately_and_is_another_one() -> None:
    async def scene(made: Scene) -> None:
        made.marks.wipe()
        made.clock.leap(S3_CHANGE_S)
        for _ in range(2):
            with pytest.raises(Unavailable, match="is missing or another one"):
                await made.identity.claim()

    play(scene)


def test_changes_at_once_look_at_a_place_once_and_not_at_all_while_the_probe_does() -> None:
    async def scene(made: Scene) -> None:
        reads = made.marks.reads
        await made.identity.claim()
        assert made.marks.reads == reads
        made.clock.leap(S3_CHANGE_S)
        await asyncio.gather(*[made.identity.claim() for _ in range(10)])
        assert made.marks.reads == reads + 1

    play(scene)
