"""Which blocks a span needs."""

from hypothesis import given
from hypothesis import strategies as st

from holdfast.copies.blocks import all_blocks, blocks_of, part_span, trim
from holdfast.digests import block_crcs, crc32c
from holdfast.limits import BLOCK_BYTES
from holdfast.model import Facts, Layout, Part, Span, Version


def _body(sizes: list[int]) -> tuple[bytes, Version, Layout]:
    chunks = [bytes([number + 1]) * size for number, size in enumerate(sizes)]
    parts = tuple(
        Part(number + 1, len(chunk), "e", block_crcs(chunk), f"file{number}") for number, chunk in enumerate(chunks)
    )
    body = b"".join(chunks)
    return body, Version(1, len(body), "e", 0, Facts(), (), None), Layout(parts, multipart=len(sizes) > 1)


SIZES = st.lists(
    st.sampled_from([1, 5, BLOCK_BYTES - 1, BLOCK_BYTES, BLOCK_BYTES + 1, 2 * BLOCK_BYTES + 7]), min_size=1, max_size=3
)


@given(SIZES, st.data())
def test_the_blocks_of_a_span_cover_it_exactly_and_no_more(sizes: list[int], data: st.DataObject) -> None:
    body, version, layout = _body(sizes)
    start = data.draw(st.integers(0, len(body) - 1))
    span = Span(start, data.draw(st.integers(start + 1, len(body))))
    blocks = blocks_of(version, layout, span)
    served = b"".join(trim(body[block.offset : block.end], block, span) for block in blocks)
    assert served == body[span.start : span.end]
    assert all(block.offset < span.end and block.end > span.start for block in blocks)
    assert all(crc32c(body[block.offset : block.end]) == block.crc for block in blocks)


@given(SIZES)
def test_all_blocks_are_the_body_in_order(sizes: list[int]) -> None:
    body, version, layout = _body(sizes)
    assert b"".join(body[block.offset : block.end] for block in all_blocks(version, layout)) == body


def test_an_empty_body_has_no_blocks() -> None:
    assert list(all_blocks(Version(1, 0, "e", 0, Facts(), (), 0), None)) == []


def test_a_part_is_found_by_its_number_and_a_plain_object_has_one() -> None:
    _, version, layout = _body([5, 7])
    assert part_span(layout, version, 2) == Span(5, 12)
    assert part_span(layout, version, 3) is None
    plain = Version(1, 9, "e", 0, Facts(), (), 1)
    assert part_span(None, plain, 1) == Span(0, 9)
    assert part_span(None, plain, 2) is None
