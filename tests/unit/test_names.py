"""Keys become paths and come back, whatever is in them."""

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from holdfast.grids import names
from holdfast.limits import KEY_BYTES
from holdfast.testing.hard_keys import HARD_KEYS

_piece = st.one_of(
    st.text(st.characters(codec="utf-8"), max_size=8),
    st.sampled_from(
        ["/", "//", ".", "..", "%", "%-", "%_", "%2F", "%2E", "\0", ".holdfast", "a" * 239, "é" * 120, "/" * 40]
    ),
)
keys = st.lists(_piece, min_size=1, max_size=12).map("".join).filter(lambda key: 0 < len(key.encode()) <= KEY_BYTES)


def _path(key: str) -> bytes:
    return names.plain(key) or names.hard(key)


@given(keys)
@example("a" * 240 + ".")
@example("a" * 240 + "..")
@example("/" * 32 + "..")
@example("/" * 33)
@settings(max_examples=500)
def test_hard_paths_come_back_as_their_keys(key: str) -> None:
    assert names.key_of(names.hard(key)) == key


@given(keys)
def test_plain_paths_are_the_keys(key: str) -> None:
    path = names.plain(key)
    assert path is None or path.decode() == key


@given(st.lists(keys, unique=True, max_size=30))
def test_different_keys_have_different_paths(some: list[str]) -> None:
    assert len({names.hard(key) for key in some}) == len(some)
    assert len({_path(key) for key in some}) == len(some)


@given(keys)
@example("a" * 240 + "..")
@settings(max_examples=500)
def test_paths_stay_within_the_bucket_and_fit_a_file_system(key: str) -> None:
    for path in (names.plain(key), names.hard(key)):
        if path is not None:
            segments = path.split(b"/")
            assert not {b"", b".", b".."} & set(segments)
            assert b"\0" not in path
            assert max(map(len, segments)) <= names.NAME_BYTES
            assert len(path) <= 3300


@given(keys)
def test_no_plain_path_lies_in_the_hard_tree(key: str) -> None:
    path = names.plain(key)
    assert path is None or path.split(b"/")[0] != names.PRIVATE.encode()


@given(st.lists(keys, unique=True, max_size=30))
def test_in_the_hard_tree_no_file_is_another_keys_directory(some: list[str]) -> None:
    files = {names.hard(key) for key in some}
    folders = {path[:at] for path in files for at in range(len(path)) if path[at : at + 1] == b"/"}
    assert not files & folders


@pytest.mark.parametrize(
    "key", ["a", "a/b", "a b", "dir/file.txt", "ü/日本", "a%20b", "...", ".x", "-", "a\\b", "x" * 255]
)
def test_ordinary_keys_keep_their_names(key: str) -> None:
    assert names.plain(key) == key.encode()


@pytest.mark.parametrize(
    "key", ["", "/", "a/", "/a", "a//b", ".", "..", "a/../b", "a/.", "a\0", "x" * 256, ".holdfast", ".holdfast/x"]
)
def test_keys_that_no_file_system_holds_are_hard(key: str) -> None:
    assert names.plain(key) is None


def test_hard_paths_can_be_read() -> None:
    assert names.hard("photos//summer/") == b".holdfast/photos%/%/summer%/%_"
    assert names.hard("../etc/passwd") == b".holdfast/..%/etc%/passwd"
    assert names.hard("50%") == b".holdfast/50%25"


def test_the_hardest_keys_come_back() -> None:
    assert [names.key_of(names.hard(key)) for key in HARD_KEYS] == list(HARD_KEYS)


@pytest.mark.parametrize(
    "path",
    [
        b".holdfast/%61",
        b".holdfast/a/b",
        b".holdfast/a%",
        b".holdfast/%zz",
        b".holdfast/%2f",
        b"other/a",
        b".holdfast/%-/a",
    ],
)
def test_foreign_names_are_no_keys(path: bytes) -> None:
    with pytest.raises(ValueError):
        names.key_of(path)
