"""Faults as values: when they meet a request, and which."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.testing.lab.network.faults import OPERATIONS, Fault, Kind, compressed
from holdfast.testing.lab.network.http import Message, unchunk, with_header
from holdfast.testing.lab.network.messages import completes, operation_of, plain_body
from holdfast.testing.lab.scenarios import all_scenarios, matching


def fault(**terms: object) -> Fault:
    return Fault(Kind.ERROR, **terms)  # type: ignore[arg-type]


def test_a_fault_has_a_beginning_and_an_end() -> None:
    made = fault(start_s=2.0, length_s=3.0)
    assert [made.share_at(at_s) for at_s in (0.0, 1.9, 2.0, 4.9, 5.0)] == [0.0, 0.0, 1.0, 1.0, 0.0]
    assert made.end_s == 5.0


def test_a_ramp_rises_to_the_whole_share() -> None:
    made = fault(share=0.8, ramp_s=4.0)
    assert [made.share_at(at_s) for at_s in (0.0, 1.0, 2.0, 4.0, 100.0)] == pytest.approx([0.0, 0.2, 0.4, 0.8, 0.8])


def test_what_flaps_is_there_in_the_first_half_of_each_period() -> None:
    made = fault(period_s=10.0)
    assert [bool(made.share_at(at_s)) for at_s in (0.0, 4.9, 5.0, 9.9, 10.0, 16.0)] == [
        True,
        True,
        False,
        False,
        True,
        False,
    ]


@given(st.floats(0, 100), st.floats(0, 1, exclude_max=True), st.sampled_from(OPERATIONS), st.text())
def test_a_fault_meets_only_its_operations_and_its_share(at_s: float, draw: float, operation: str, path: str) -> None:
    made = fault(operations=("write",), share=0.3)
    assert made.meets(at_s, draw, operation, path) == (operation == "write" and draw < 0.3)  # type: ignore[arg-type]


def test_a_share_of_the_keys_is_always_the_same_one_and_about_as_large() -> None:
    made = fault(keys=0.3)
    met = {number for number in range(2000) if made.meets(1.0, 0.0, "read", f"/photos/{number}")}
    assert met == {number for number in range(2000) if made.meets(9.0, 0.0, "read", f"/photos/{number}")}
    assert 500 < len(met) < 700


def test_compression_shortens_the_course_and_not_the_delays() -> None:
    made = compressed(fault(start_s=3600.0, length_s=7200.0, ramp_s=600.0, period_s=60.0, delay_s=2.0), 60.0)
    assert (made.start_s, made.length_s, made.ramp_s, made.period_s, made.delay_s) == (60.0, 120.0, 10.0, 1.0, 2.0)


@pytest.mark.parametrize(
    ("method", "target", "operation"),
    [
        ("GET", "/photos/a", "read"),
        ("GET", "/photos/a?partNumber=1", "read"),
        ("HEAD", "/photos/a", "read"),
        ("GET", "/photos?list-type=2&prefix=x", "list"),
        ("GET", "/photos/?list-type=2", "list"),
        ("GET", "/", "list"),
        ("PUT", "/photos/a", "write"),
        ("PUT", "/photos/a?partNumber=1&uploadId=x", "write"),
        ("POST", "/photos/a?uploads", "write"),
        ("POST", "/photos?delete", "delete"),
        ("DELETE", "/photos/a", "delete"),
    ],
)
def test_a_request_counts_to_one_class(method: str, target: str, operation: str) -> None:
    assert operation_of(method, target) == operation


def test_what_may_fail_late_is_a_completion_or_a_copy() -> None:
    plain = Message(b"PUT /photos/a HTTP/1.1\r\nHost: x\r\n\r\n")
    copy = Message(b"PUT /photos/a HTTP/1.1\r\nx-amz-copy-source: /photos/b\r\n\r\n")
    assert completes(copy, "PUT", "/photos/a")
    assert completes(plain, "POST", "/photos/a?uploadId=7")
    assert not completes(plain, "PUT", "/photos/a")
    assert not completes(plain, "POST", "/photos/a?uploads")


def test_the_object_is_found_in_every_framing() -> None:
    signed = Message(b"PUT /k HTTP/1.1\r\nx-amz-content-sha256: STREAMING-UNSIGNED-PAYLOAD-TRAILER\r\n\r\n")
    signed.body = b"5;chunk-signature=0\r\nhello\r\n6\r\n world\r\n0\r\nx-amz-checksum-crc32:x\r\n\r\n"
    plain = Message(b"PUT /k HTTP/1.1\r\nContent-Length: 5\r\n\r\n")
    plain.body = b"hello"
    chunked = Message(b"PUT /k HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n")
    chunked.body = b"2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n"
    assert [plain_body(each) for each in (signed, plain, chunked)] == [b"hello world", b"hello", b"hello"]
    assert unchunk(b"0\r\n\r\n") == b""


def test_a_header_is_replaced_whatever_its_case() -> None:
    head = with_header(b"HTTP/1.1 200 OK\r\nETag: x\r\nDate: now\r\n\r\n", "etag", "y")
    assert head == b"HTTP/1.1 200 OK\r\nDate: now\r\netag: y\r\n\r\n"


def test_scenarios_have_names_of_their_own_and_something_to_stage() -> None:
    every = all_scenarios()
    assert len({scenario.name for scenario in every}) == len(every)
    for scenario in every:
        assert bool(scenario.faults) != bool(scenario.not_staged), scenario.name
        assert scenario.both == any("b" in each.grids for each in scenario.faults), scenario.name
        assert all(each.start_s < scenario.lasted_s for each in scenario.faults), scenario.name


def test_scenarios_are_found_by_table_and_by_part_of_their_name() -> None:
    assert {scenario.name for scenario in matching(["brown"])} == {"brown-out-5", "brown-out-30"}
    assert all(scenario.historic for scenario in matching(["history"]))
    assert len(matching(["history"])) + len(matching(["classes"])) == len(matching([]))
    assert matching(["nothing is called so"]) == ()
