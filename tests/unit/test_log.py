"""Lines about what happened: which there are, what they hold, and that nobody waits for their reader."""

import json
import logging
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from holdfast import events
from holdfast.limits import LOG_QUEUE, LOG_REPEATS, LOG_REPEATS_S, LOG_VALUE_CHARS
from holdfast.serve.log import Bridge, Log, Outlet
from holdfast.testing.rawhttp import StillClock


def request(status: int = 200, **fields: Any) -> events.RequestEnded:
    known: dict[str, Any] = {
        "request_id": "8C0FFEE1",
        "operation": "GetObject",
        "method": "GET",
        "path": "/bucket/key",
        "bucket": "bucket",
        "key": "key",
        "status": status,
        "code": "" if status < 400 else "SomeCode",
        "elapsed_s": 0.01,
        "received_bytes": 0,
        "sent_bytes": 5,
        "access_key": "AKID",
        "client": "127.0.0.1",
    }
    return events.RequestEnded(**(known | fields))


def told(tmp_path: Path, tell: Callable[[Log, StillClock], None], **terms: Any) -> str:
    """What a log writes while `tell` runs."""
    file = tmp_path / "log"
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    try:
        outlet, clock = Outlet(descriptor), StillClock()
        tell(Log(outlet, clock=clock, **terms), clock)
        outlet.close(timeout_s=10)
    finally:
        os.close(descriptor)
    return file.read_text()


def lines(tmp_path: Path, *happened: events.Event, **terms: Any) -> list[dict[str, Any]]:
    """The lines about some events, as a machine reads them."""

    def tell(log: Log, _: StillClock) -> None:
        for event in happened:
            log.listen(event)

    return [json.loads(line) for line in told(tmp_path, tell, form="json", **terms).splitlines()]


@pytest.mark.parametrize("status", [200, 204, 206, 304, 404, 412, 499])
def test_an_ordinary_request_has_no_line(tmp_path: Path, status: int) -> None:
    assert lines(tmp_path, request(status)) == []


@pytest.mark.parametrize(("status", "level"), [(400, "info"), (403, "info"), (500, "error"), (503, "warning")])
def test_a_refused_or_failed_request_has_a_line_with_the_id_the_client_saw(
    tmp_path: Path, status: int, level: str
) -> None:
    (line,) = lines(tmp_path, request(status, detail="what went wrong inside"))
    assert line["request_id"] == "8C0FFEE1"
    assert (line["status"], line["level"], line["code"]) == (status, level, "SomeCode")
    assert line["detail"] == "what went wrong inside"


def test_a_slow_request_has_a_line(tmp_path: Path) -> None:
    (line,) = lines(tmp_path, request(elapsed_s=5.0), request(elapsed_s=4.9), slow_s=5.0)
    assert line["elapsed_ms"] == 5000


def test_every_request_has_a_line_when_asked_for(tmp_path: Path) -> None:
    many = [request(200)] * (LOG_REPEATS * 2) + [request(403)] * (LOG_REPEATS * 2)
    assert len(lines(tmp_path, *many, all_requests=True)) == LOG_REPEATS * 4


def test_a_presigned_permission_is_in_no_line(tmp_path: Path) -> None:
    (line,) = lines(tmp_path, request(403, path="/bucket/key?X-Amz-Signature=abcdef0123"))
    assert line["path"] == "/bucket/key"
    assert "abcdef0123" not in json.dumps(line)


def test_lines_below_the_level_are_left_out(tmp_path: Path) -> None:
    happened = (request(403), events.GridMoved("a", "up", ""), events.GridMoved("a", "down", "gone"))
    assert [line["message"] for line in lines(tmp_path, *happened, level="warning")] == ["grid is down"]


@pytest.mark.parametrize(
    ("event", "level", "held"),
    [
        (events.GridMoved("left", "down", "no such directory"), "warning", ["left", "no such directory"]),
        (events.GridMoved("left", "up", ""), "info", ["left"]),
        (events.BreakerMoved("left", "write", "open", "silent"), "warning", ["left", "write", "silent"]),
        (events.GridAttempt("left", "get", "unavailable", 3.0, detail="too slow"), "warning", ["left", "too slow"]),
        (events.DebtPostponed("left", "b", "k", 3, 4.0, "ENOSPC"), "info", ["left", "b", "k", "ENOSPC"]),
        (events.CopySuspected("left", "b", "k", "damaged"), "warning", ["left", "b", "k", "damaged"]),
        (events.CacheMoved(True, "", 5, 77), "info", ["cache is on", "5", "77"]),
        (events.CacheMoved(False, "no space left"), "warning", ["no space left"]),
        (
            events.CatchUpTold("left", "goes on", 5_000, 77_000, 321, 60.0, 12.34, 405.4, 3),
            "info",
            ["left", "5000", "77000", "321", "60", "12.3", "405", "3"],
        ),
        (
            events.CatchUpTold("left", "makes no progress", 5, 7, 0, 60.0, 0.0, None, 5, "no copy is known"),
            "warning",
            ["catch-up makes no progress", "left", "no copy is known"],
        ),
        (events.KeeperFailed("scrub", "Traceback\n  here\nValueError: odd"), "error", ["scrub", "ValueError: odd"]),
        (events.Noted("serving", {"pid": 17}), "info", ["serving", "17"]),
    ],
)
def test_what_matters_to_an_operator_has_a_line(
    tmp_path: Path, event: events.Event, level: str, held: list[str]
) -> None:
    (line,) = lines(tmp_path, event)
    assert line["level"] == level
    values = [str(value) for value in line.values()]
    assert all(text in values for text in held)


def test_routine_has_no_line(tmp_path: Path) -> None:
    routine = (
        events.Committed(5, 0.002),
        events.DebtPaid("left", "b", "k", 5, 0.1, "linked"),
        events.GridAttempt("left", "get", "ok", 0.01),
        events.GridAttempt("left", "get", "refused", 0.01),
    )
    assert lines(tmp_path, *routine) == []


def test_repetition_is_told_as_a_sum(tmp_path: Path) -> None:
    def tell(log: Log, clock: StillClock) -> None:
        for _ in range(LOG_REPEATS + 30):
            log.listen(events.DebtPostponed("left", "b", "k", 3, 4.0, "ENOSPC"))
        log.listen(events.DebtPostponed("right", "b", "k", 3, 4.0, "ENOSPC"))
        clock.at_s += LOG_REPEATS_S
        log.listen(events.DebtPostponed("left", "b", "k", 3, 4.0, "ENOSPC"))

    found = [json.loads(line) for line in told(tmp_path, tell, form="json").splitlines()]
    sums = [line for line in found if "more of the same" in line["message"]]
    assert [line["lines"] for line in sums] == [30]
    assert len(found) == LOG_REPEATS + 1 + 1 + 1


def test_a_hostile_key_cannot_break_a_line_or_steer_a_terminal(tmp_path: Path) -> None:
    event = events.CopySuspected("left", "b", "k\n2026 [error] forged\x1b[2J", "x\r\ny")
    text = told(tmp_path, lambda log, _: log.listen(event), form="text")
    assert text.count("\n") == 1
    assert "\x1b" not in text
    assert "\r" not in text


def test_a_traceback_is_readable_and_cannot_steer_a_terminal(tmp_path: Path) -> None:
    event = events.KeeperFailed("scrub", "Traceback\n  \x1b[2J here\nValueError: odd")
    text = told(tmp_path, lambda log, _: log.listen(event), form="text")
    assert len(text.splitlines()) == 4
    assert "\x1b" not in text


def test_a_long_value_is_cut(tmp_path: Path) -> None:
    (line,) = lines(tmp_path, events.Noted("x" * (LOG_VALUE_CHARS * 2)))
    assert len(line["message"]) == LOG_VALUE_CHARS + 1


def test_lone_surrogates_do_not_stop_the_log(tmp_path: Path) -> None:
    for form in ("text", "json"):
        text = told(tmp_path, lambda log, _: log.listen(events.Noted("odd \udcff name")), form=form)
        assert "odd" in text


def test_lines_carry_the_time_of_the_clock_and_fixed_fields(tmp_path: Path) -> None:
    (line,) = lines(tmp_path, events.Noted("x"), worker=3)
    assert line["worker"] == 3
    assert line["timestamp"] == "2023-11-14T22:13:20.000Z"


def test_what_libraries_log_is_written_with_its_traceback(tmp_path: Path) -> None:
    def tell(log: Log, _: StillClock) -> None:
        try:
            raise ValueError("in a library")
        except ValueError:
            record = logging.LogRecord("lib", logging.ERROR, "f", 1, "it %s", ("broke",), sys.exc_info())
        Bridge(log).handle(record)

    line = json.loads(told(tmp_path, tell, form="json"))
    assert (line["message"], line["logger"], line["level"]) == ("it broke", "lib", "error")
    assert "ValueError: in a library" in line["exception"]


def test_nobody_waits_for_a_reader_that_has_stopped() -> None:
    reading, writing = os.pipe()
    outlet = Outlet(writing)
    for number in range(LOG_QUEUE * 3):
        outlet.msg(f"{number} " + "x" * 100)
    outlet.close(timeout_s=0)
    written = dropped = 0
    with os.fdopen(reading) as rest:
        while written + dropped < LOG_QUEUE * 3:
            line = rest.readline()
            if "dropped" in line:
                dropped += int(line.split()[0])
            else:
                written += 1
    os.close(writing)
    assert dropped > 0
    assert written >= LOG_QUEUE
