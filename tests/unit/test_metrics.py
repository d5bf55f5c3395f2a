"""Counts for Prometheus: complete, never going backwards, and of all workers at once."""

import math
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from holdfast import events
from holdfast.health.pace import Pace
from holdfast.health.progress import Phase, Progress
from holdfast.limits import METRICS_STALE_S
from holdfast.serve.metrics import Family, Publisher, Reading, Snapshot, Tally, read_snapshot, render
from holdfast.testing.rawhttp import StillClock


def request(operation: str = "GetObject", status: int = 200, elapsed_s: float = 0.003) -> events.RequestEnded:
    return events.RequestEnded(
        "id", operation, "GET", "/b/k", "b", "k", status, "", elapsed_s, 10, 20, "AKID", "127.0.0.1"
    )


def worker(directory: Path, number: int, clock: StillClock, *, connections: float = 1) -> tuple[Tally, Publisher]:
    tally = Tally()
    gauges = {"holdfast_connections": connections, "holdfast_requests_in_progress": 0.0}
    return tally, Publisher(tally, directory, worker=number, clock=clock, gauges=lambda: gauges)


def samples(snapshots: list[Snapshot], clock: StillClock, *readings: Reading) -> dict[tuple[str, ...], float]:
    """A scrape as Prometheus reads it: name and label values, in order of the labels' names, to value."""
    text = render(snapshots, readings, clock.now_ms()).decode()
    return {
        (sample.name, *(value for _, value in sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_every_request_is_counted_with_its_time_and_bytes(tmp_path: Path) -> None:
    clock = StillClock()
    tally, publisher = worker(tmp_path, 0, clock)
    for status in (200, 200, 404):
        tally.listen(request(status=status))
    tally.listen(request("PutObject", elapsed_s=99.0))
    found = samples(publisher.collect(), clock)
    assert found["holdfast_requests_total", "GetObject", "200"] == 2
    assert found["holdfast_requests_total", "GetObject", "404"] == 1
    assert found["holdfast_received_bytes_total", "GetObject"] == 30
    assert found["holdfast_sent_bytes_total", "GetObject"] == 60
    assert found["holdfast_request_seconds_bucket", "0.0025", "GetObject"] == 0
    assert found["holdfast_request_seconds_bucket", "0.005", "GetObject"] == 3
    assert found["holdfast_request_seconds_bucket", "+Inf", "GetObject"] == 3
    assert found["holdfast_request_seconds_bucket", "30.0", "PutObject"] == 0
    assert found["holdfast_request_seconds_count", "PutObject"] == 1
    assert math.isclose(found["holdfast_request_seconds_sum", "GetObject"], 0.009)


def test_what_happens_at_grids_and_in_the_index_is_counted(tmp_path: Path) -> None:
    clock = StillClock()
    tally, publisher = worker(tmp_path, 0, clock)
    for event in (
        events.GridAttempt("a", "get", "unavailable", 3.0),
        events.GridAttempt("a", "get", "ok", 0.001, size_bytes=77),
        events.GridAttempt("a", "get", "ok", 0.5, errand=True),
        events.BreakerMoved("a", "read", "open", "silent"),
        events.Committed(5, 0.002),
        events.DebtPaid("a", "b", "k", 1000, 12.0, "linked"),
        events.DebtPostponed("a", "b", "k", 1, 1.0, "silent"),
        events.CopySuspected("a", "b", "k", "damaged"),
        events.KeeperFailed("scrub", "odd"),
        events.CacheAsked(3, 1, 700),
        events.CacheAsked(0, 2, 0),
        events.CacheOffered("admitted"),
        events.CacheOffered("rejected"),
        events.CacheEvicted("age", 4),
        events.Noted("not counted"),
    ):
        tally.listen(event)
    found = samples(publisher.collect(), clock)
    assert found["holdfast_grid_attempts_total", "a", "get", "unavailable"] == 1
    assert found["holdfast_grid_bytes_total", "a", "get"] == 77
    assert found["holdfast_grid_seconds_count", "a", "get"] == 2
    assert found["holdfast_grid_errand_seconds_count", "a", "get"] == 1
    assert found["holdfast_breaker_moves_total", "read", "a", "open"] == 1
    assert found["holdfast_breakers", "read", "a", "open"] == 1
    assert found["holdfast_commit_changes_total",] == 5
    assert found["holdfast_commit_batch_sum",] == 5
    assert found["holdfast_commit_seconds_count",] == 1
    assert found["holdfast_debts_paid_total", "a", "linked"] == 1
    assert found["holdfast_debts_paid_bytes_total", "a"] == 1000
    assert found["holdfast_debt_lag_seconds_sum", "a"] == 12
    assert found["holdfast_debts_postponed_total", "a"] == 1
    assert found["holdfast_copies_suspected_total", "a"] == 1
    assert found["holdfast_keeper_failures_total", "scrub"] == 1
    assert found["holdfast_cache_hits_total",] == 3
    assert found["holdfast_cache_misses_total",] == 3
    assert found["holdfast_cache_hit_bytes_total",] == 700
    assert found["holdfast_cache_offers_total", "admitted"] == 1
    assert found["holdfast_cache_offers_total", "rejected"] == 1
    assert found["holdfast_cache_evictions_total", "age"] == 4


def test_one_scrape_covers_all_workers(tmp_path: Path) -> None:
    clock = StillClock()
    workers = [worker(tmp_path, number, clock, connections=number + 1) for number in range(3)]
    for tally, publisher in workers:
        tally.listen(request())
        publisher.publish()
    workers[0][0].listen(request())
    found = samples(workers[0][1].collect(), clock)
    assert found["holdfast_requests_total", "GetObject", "200"] == 4
    assert found["holdfast_connections",] == 6
    assert found["holdfast_workers",] == 3


def test_counts_do_not_go_backwards_when_a_worker_dies_and_comes_back(tmp_path: Path) -> None:
    clock = StillClock()
    scraped, scraping = worker(tmp_path, 0, clock)
    tally, publisher = worker(tmp_path, 1, clock)
    for _ in range(5):
        tally.listen(request())
    tally.listen(events.DebtPaid("a", "b", "k", 1000, 12.0, "linked"))
    publisher.publish()
    scraped.listen(request())
    before = samples(scraping.collect(), clock)
    assert before["holdfast_requests_total", "GetObject", "200"] == 6

    clock.at_s += METRICS_STALE_S + 1
    dead = samples(scraping.collect(), clock)
    assert dead["holdfast_requests_total", "GetObject", "200"] == 6
    assert dead["holdfast_workers",] == 1
    assert dead["holdfast_connections",] == 1

    reborn, again = worker(tmp_path, 1, clock)
    reborn.listen(request())
    again.publish()
    after = samples(scraping.collect(), clock)
    assert after["holdfast_requests_total", "GetObject", "200"] == 7
    assert after["holdfast_request_seconds_count", "GetObject"] == 7
    assert after["holdfast_debt_lag_seconds_count", "a"] == 1
    assert after["holdfast_sent_bytes_total", "GetObject"] == 140
    assert after["holdfast_workers",] == 2


def test_a_damaged_file_of_counts_is_left_out(tmp_path: Path) -> None:
    clock = StillClock()
    tally, publisher = worker(tmp_path, 0, clock)
    tally.listen(request())
    (tmp_path / "metrics-1").write_bytes(b"\xff\x00 not counts")
    assert read_snapshot(tmp_path / "metrics-1") is None
    assert samples(publisher.collect(), clock)["holdfast_requests_total", "GetObject", "200"] == 1
    worker(tmp_path, 1, clock)[1].publish()
    assert samples(publisher.collect(), clock)["holdfast_workers",] == 2


def test_a_directory_that_is_gone_stops_nothing(tmp_path: Path) -> None:
    clock = StillClock()
    _, publisher = worker(tmp_path / "gone", 0, clock)
    assert publisher.collect() == []


def test_gauges_that_are_read_are_in_the_scrape(tmp_path: Path) -> None:
    clock = StillClock()
    reading = Reading(Family("holdfast_debts", "Owed.", ("grid",)), ((("a",), 3.0), (("b",), 0.0)))
    found = samples([], clock, reading)
    assert (found["holdfast_debts", "a"], found["holdfast_debts", "b"]) == (3, 0)


# --- pace ---


def test_the_eta_is_what_is_owed_over_the_speed_of_payment() -> None:
    pace = Pace()
    for second in range(11):
        pace.observe(second, second * 50)
    assert pace.eta_s(1000) == 20
    assert pace.eta_s(0) == 0


def test_a_grid_that_is_paid_nothing_has_no_eta() -> None:
    pace = Pace()
    assert pace.eta_s(5) is None
    for second in range(100):
        pace.observe(second * 2.0, 500)
    assert pace.eta_s(5) is None


def test_only_the_last_stretch_of_time_counts() -> None:
    pace = Pace()
    paid = 0
    for second in range(0, 600, 2):
        paid += 200 if second < 300 else 2
        pace.observe(second, paid)
    assert math.isclose(pace.per_s, 1, rel_tol=0.05)


def test_a_replaced_place_begins_anew() -> None:
    pace = Pace()
    pace.observe(0, 100)
    pace.observe(2, 200)
    pace.observe(4, 0)
    assert pace.eta_s(5) is None
    pace.observe(6, 20)
    assert pace.eta_s(50) == 5


@given(st.lists(st.tuples(st.floats(0.001, 100), st.integers(0, 1000)), max_size=300))
def test_a_pace_is_never_negative_and_never_above_the_fastest_stretch(steps: list[tuple[float, int]]) -> None:
    pace, at_s, paid, fastest = Pace(), 0.0, 0, 0.0
    pace.observe(at_s, paid)
    for delay_s, amount in steps:
        at_s, paid = at_s + delay_s, paid + amount
        pace.observe(at_s, paid)
        fastest = max(fastest, amount / delay_s)
    assert 0 <= pace.per_s <= fastest * 1.001 + 1e-9


def test_few_large_debts_behind_many_small_ones_are_in_the_eta() -> None:
    pace = Pace()
    for second in range(10):
        pace.observe(second, second * 100, second * 1_000)
    assert pace.eta_s(100) == 1
    assert pace.eta_s(100, 1_000) == 1
    assert pace.eta_s(100, 3_600_000) == 3600
    only_deletions = Pace()
    for second in range(10):
        only_deletions.observe(second, second * 100, 0)
    assert only_deletions.eta_s(100, 1_000) is None, "how fast bytes go is not known"


# --- progress ---


def test_a_catch_up_is_told_once_at_its_beginning_now_and_then_and_at_its_end() -> None:
    progress, told = Progress(), []
    for second in range(0, 400, 2):
        oldest_s = 0.5 if second < 20 or second >= 300 else 20.0
        phase = progress.observe(1000.0 + second, oldest_s=oldest_s, paid=min(second, 200))
        if phase is not None:
            told.append((second, phase))
            assert progress.sums(1000.0 + second, min(second, 200)) == (second - 20, min(second, 200) - 20)
        if phase is Phase.DONE:
            break
    assert told == [
        (20, Phase.BEGUN),
        (80, Phase.ONGOING),
        (140, Phase.ONGOING),
        (200, Phase.ONGOING),
        (260, Phase.IDLE),
        (300, Phase.DONE),
    ]
