"""Which blocks a body consists of, and which of them a span needs. Pure arithmetic.

A block is at most BLOCK_BYTES and never spans parts; each has its CRC-32C in the index.
"""

from collections.abc import Iterator, Sequence

from holdfast.limits import BLOCK_BYTES
from holdfast.model import Layout, Span, Value, Version


class Block(Value, frozen=True):
    """`size` bytes from `offset` in the object; `spool` and `spool_offset` say where they lie in the spool."""

    offset: int
    size: int
    crc: int
    spool: str = ""
    spool_offset: int = 0

    @property
    def end(self) -> int:
        return self.offset + self.size


def all_blocks(version: Version, layout: Layout | None) -> Iterator[Block]:
    """The blocks of a version, in order. An empty body has none."""
    if layout is None:
        assert version.crc is not None
        if version.size:
            yield Block(0, version.size, version.crc)
        return
    start = 0
    for part in layout.parts:
        for number, at in enumerate(range(0, part.size, BLOCK_BYTES)):
            crc = int.from_bytes(part.blocks[4 * number : 4 * number + 4], "little")
            yield Block(start + at, min(BLOCK_BYTES, part.size - at), crc, part.spool, at)
        start += part.size


def blocks_of(version: Version, layout: Layout | None, span: Span) -> list[Block]:
    """The blocks that a span touches, in order."""
    if layout is not None and len(layout.parts) == 1 and span.size:
        # One part: blocks are at regular places, so a short range of a huge body costs little.
        part = layout.parts[0]
        first, last = span.start // BLOCK_BYTES, (span.end - 1) // BLOCK_BYTES
        return [
            Block(
                number * BLOCK_BYTES,
                min(BLOCK_BYTES, part.size - number * BLOCK_BYTES),
                int.from_bytes(part.blocks[4 * number : 4 * number + 4], "little"),
                part.spool,
                number * BLOCK_BYTES,
            )
            for number in range(first, last + 1)
        ]
    return [block for block in all_blocks(version, layout) if block.offset < span.end and block.end > span.start]


def part_span(layout: Layout | None, version: Version, number: int) -> Span | None:
    """The bytes of part `number`, as clients know them; None when there is no such part. Not multipart: part 1 is the whole."""
    if layout is None or not layout.multipart:
        return Span(0, version.plain_size) if number == 1 else None
    start = 0
    for part in layout.parts:
        if part.number == number:
            return Span(start, start + part.plain_size)
        start += part.plain_size
    return None


def trim(data: bytes, block: Block, span: Span) -> bytes:
    """What of a block's bytes lies within the span."""
    if block.offset >= span.start and block.end <= span.end:
        return data
    return data[max(0, span.start - block.offset) : span.end - block.offset]


def spool_files(layout: Layout | None) -> Sequence[str]:
    """The spool files that hold (or held) a body, in order."""
    return [part.spool for part in layout.parts] if layout is not None else []
