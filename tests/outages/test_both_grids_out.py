"""Both folder grids fail at once: the gateway goes on with what it has itself, and says honestly what it cannot do.

What is in index and spool is read and listed, writes are taken until the spool is full, what only grids have is 503 and
never 404, and after their return both directories hold exactly what was acknowledged.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from functools import partial
from pathlib import Path

import pytest

from tests.outages.conftest import Make
from tests.outages.gateway import GRIDS, Gateway, until
from tests.outages.staging import away, full, hanging, lose, read_only, small_disk
from tests.outages.test_folder_outages import assert_both_match
from tests.outages.workload import MIB, Failure, Workload

SPOOL_BYTES = 24 * MIB
TIGHT = f'[cache]\ninline = "0"\n[spool]\nlimit = "{SPOOL_BYTES}"\n'

Stage = Callable[[Path], AbstractContextManager[None]]


def refused(request: Callable[[], None]) -> Failure:
    """The failure of a request that must fail."""
    try:
        request()
    except Failure as failure:
        return failure
    raise AssertionError("it was answered with success")


def is_owed(gateway: Gateway, name: str, keys: int) -> bool:
    return bool(gateway.grid(name)["owed"] > keys)


def check_unavailable(workload: Workload, key: str) -> None:
    failure = refused(lambda: workload.get(key))
    assert (failure.status, failure.code) == (503, "ServiceUnavailable")
    assert int(failure.headers["retry-after"]) > 0


@pytest.mark.parametrize("stage", [away, hanging], ids=["renamed away", "hanging"])
def test_both_are_silent(run: Make, stage: Stage) -> None:
    gateway, workload = run(TIGHT)
    before = workload.fill("before", each=1)
    gateway.until_trimmed()
    during: list[str] = []
    with ExitStack() as outage:
        for place in gateway.places.values():
            outage.enter_context(stage(place))
        for key in before:
            check_unavailable(workload, key)
            workload.head(key)
        workload.listing()
        workload.failures.clear()
        during = workload.fill("during", each=1)
        workload.put(before[0])
        workload.delete(before[1])
        for key in (*during, *before[:2]):
            workload.get(key)
        workload.listing()
        for name in GRIDS:
            gateway.until_state(name, "down")
        workload.assert_untroubled()
        check_full(gateway, workload)
        for key in during:
            workload.get(key)
        workload.delete(during[0])
    gateway.until_paid()
    workload.put("after", "large")
    workload.check_all()
    gateway.until_paid()
    workload.assert_faithful()
    assert_both_match(gateway, workload)


def check_full(gateway: Gateway, workload: Workload) -> None:
    """Writes are taken until the spool has no room, and then told so; whether they are large or small."""
    for kind in ("large", "medium", "small"):
        for number in range(10_000):
            try:
                workload.put(f"more/{kind}/{number}", kind)
            except Failure as failure:
                assert (failure.status, failure.code) == (503, "SlowDown")
                assert int(failure.headers["retry-after"]) > 0
                break
        else:
            raise AssertionError(f"{kind} bodies are taken without end: {gateway.status()}")
    status = gateway.status()
    # Small writes look at the room that there was a moment ago, so they may go a little over it.
    assert SPOOL_BYTES - 4 * MIB < status["spool_bytes"] + status["inline_bytes"] < SPOOL_BYTES + MIB


@pytest.mark.parametrize("stage", [read_only, full], ids=["read-only", "full"])
def test_both_cannot_be_written_to(cleanup: ExitStack, prepare: Make, stage: Stage) -> None:
    gateway, workload = prepare()
    targets = list(gateway.places.values())
    if stage is full:
        targets = [place.parent for place in targets]
        for disk in targets:
            cleanup.enter_context(small_disk(disk, 64 * MIB))
    gateway.start()
    workload.create_bucket()
    before = workload.fill("before")
    gateway.until_trimmed()
    with ExitStack() as outage:
        for target in targets:
            outage.enter_context(stage(target))
        during = workload.fill("during", each=2)
        for key in before[::3]:
            workload.put(key, "large")
        workload.delete(before[1])
        for name in GRIDS:
            until(partial(is_owed, gateway, name, 5), gateway.status)
        workload.check_all()
        workload.delete(during[0])
    gateway.until_paid()
    workload.check_all()
    workload.assert_untroubled()
    assert_both_match(gateway, workload)


def test_both_are_lost_for_good(run: Make) -> None:
    """Small bodies are in the index and come back to both; the large ones are gone, which is 503 and never 404."""
    gateway, workload = run("")
    small = workload.fill("k", kinds=["small"], each=30)
    large = workload.fill("k", kinds=["large", "parts"], each=1)
    gateway.until_paid()
    for place in gateway.places.values():
        lose(place)
    for name in GRIDS:
        gateway.until_state(name, "down")
    for place in gateway.places.values():
        place.mkdir()
    for name in GRIDS:
        gateway.until_state(name, "up")
        gateway.until_held(name, len(small))
    for name in GRIDS:
        assert gateway.files(name) == {key: body for key, body in workload.content().items() if key in small}
        assert gateway.grid(name)["owed"] == len(large)
        assert gateway.grid(name)["owed_bytes"] == sum(len(workload.content()[key]) for key in large)
    for key in large:
        check_unavailable(workload, key)
        workload.head(key)
    for key in small:
        workload.get(key)
    workload.listing()
    for key in large:
        workload.put(key, "large")
    gateway.until_paid()
    workload.check_all()
    workload.assert_faithful()
    assert_both_match(gateway, workload)
