"""Inputs near those of a corpus, for hypothesis: cut, joined, repeated, with bytes put in and taken out."""

from pathlib import Path

from hypothesis import strategies as st


def inputs(folder: Path) -> list[bytes]:
    """A target's corpus, in an order that does not change."""
    return [path.read_bytes() for path in sorted(folder.iterdir())]


def changed_inputs(known: list[bytes]) -> st.SearchStrategy[bytes]:
    """One of the known inputs after a few changes, or bytes from nowhere."""
    tokens = sorted(
        {piece for data in known for piece in data.replace(b"\r\n", b"\n").split(b"\n") if 0 < len(piece) < 80}
    )
    piece = st.one_of(st.binary(max_size=8), st.sampled_from([b"", b"\r\n", b"\n", b"%", b"\0", b"9" * 30, *tokens]))
    change = st.tuples(st.integers(0, 4096), st.integers(0, 16), piece)
    return st.one_of(
        st.builds(_changed, st.sampled_from(known or [b""]), st.lists(change, min_size=1, max_size=6)),
        st.binary(max_size=200),
    )


def _changed(data: bytes, changes: list[tuple[int, int, bytes]]) -> bytes:
    for at, size, piece in changes:
        at %= len(data) + 1
        data = data[:at] + piece + data[at + size :]
    return data
