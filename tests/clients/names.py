"""Hard object names, and which client cannot say which of them.

A name that a client itself refuses or rewrites before anything is sent is excluded for that client, with the reason;
such a case is reported as skipped, so exclusions are counted. Everything else must go through unchanged.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Final

import pytest

LONGEST: Final = 1024
"""Bytes of the longest key."""

HARD: Final[Mapping[str, str]] = {
    "composed accent": "caf\u00e9.txt",
    "decomposed accent": "cafe\u0301.txt",
    "other scripts": "Привет/日本語/שלום.txt",
    "beyond the basic plane": "\U0001f980/\U0001d518.txt",
    "last character before the surrogates": "a\ud7ffb",
    "first character after the surrogates": "a\ue000b",
    "blank": "a b",
    "blank in front": " a",
    "blank at the end": "a ",
    "two blanks": "a  b",
    "blank alone": " ",
    "no-break blank": "a\u00a0b",
    "plus": "a+b",
    "percent": "100%",
    "escaped plus": "a%2Bb",
    "escaped blank": "a%20b",
    "escaped percent": "a%25b",
    "escaped slash": "a%2Fb",
    "escaped NUL": "a%00b",
    "malformed escape": "a%zz%",
    "two slashes": "a//b",
    "three slashes": "a///b",
    "slash in front": "/a",
    "two slashes in front": "//a",
    "slash alone": "/",
    "slash at the end": "folder/",
    "two slashes at the end": "folder//",
    "dot alone": ".",
    "two dots alone": "..",
    "dot segment in front": "./a",
    "dot segment": "a/./b",
    "parent segment in front": "../a",
    "parent segment": "a/../b",
    "parent segments to the root": "a/../../../../../../etc/passwd",
    "parent segment at the end": "a/..",
    "dot in front": ".hidden/.file",
    "three dots": ".../a",
    "dot at the end": "a.",
    "private folder of a grid": ".holdfast/index.db",
    "backslash": "a\\b",
    "backslash and dots": "..\\a",
    "single quote": "a'b",
    "double quote": 'a"b',
    "markup": "<a>&b</a>",
    "entity": "a&amp;b&#10;",
    "end of character data": "a]]>b",
    "query": "a?b=c&d=e",
    "sub-resource": "a?uploads",
    "fragment": "a#b",
    "colon": "a:b",
    "reserved signs": "!$&'()*,;=@",
    "brackets": "[a]{b}|^`",
    "wild cards": "a*b?[c]",
    "tilde": "~root/~",
    "device": "CON/nul.txt",
    "dash in front": "-rf",
    "file": "clash",
    "file below a file": "clash/under",
    "folder beside a file": "clash/",
    "lower case": "case",
    "upper case": "CASE",
    "tabulator": "a\tb",
    "line feed": "a\nb",
    "carriage return": "a\rb",
    "both line ends": "a\r\nb",
    "line end at the end": "a\n",
    "control characters": "a\x01\x08\x1b\x1fb",
    "delete character": "a\x7fb",
    "second control set": "a\x85b\x9f",
    "line separator": "a\u2028b",
    "byte order mark": "\ufeffa",
    "no character": "a\ufffe\uffffb",
    "replacement character": "a\ufffdb",
    "longest in one segment": "x" * LONGEST,
    "longest of two-byte characters": "é" * (LONGEST // 2),
    "longest of escaped signs": "%" * LONGEST,
    "longest of many segments": "y/" * (LONGEST // 2 - 1) + "zz",
    "longest segments of a file system": "/".join(["w" * 255] * 4),
    "segment longer than a file system's": "v" * 256,
}
"""By what is hard about them. Together they can stand in one bucket."""

_DOTS: Final = (
    "dot alone",
    "two dots alone",
    "dot segment in front",
    "dot segment",
    "parent segment in front",
    "parent segment",
    "parent segments to the root",
    "parent segment at the end",
)
_EMPTY: Final = (
    "two slashes",
    "three slashes",
    "slash in front",
    "two slashes in front",
    "slash alone",
    "two slashes at the end",
)
_FOLDERS: Final = ("slash at the end", "folder beside a file")
CONTROLS: Final = (
    "tabulator",
    "line feed",
    "carriage return",
    "both line ends",
    "line end at the end",
    "control characters",
    "delete character",
)
"""Labels of names with control characters of ASCII."""


def _because(reason: str, *labels: str) -> dict[str, str]:
    return dict.fromkeys(labels, reason)


_INTO_FOLDER: Final = _because(
    "a target that ends with a slash is a folder to it: it adds the file's name",
    *_FOLDERS,
    "slash alone",
    "two slashes at the end",
)

EXCLUDED: Final[Mapping[str, Mapping[str, str]]] = {
    "rclone": {
        **_because("it writes dot segments with full-width dots", *_DOTS),
        **_because("it removes empty segments", *_EMPTY),
        **_because("a name that ends with a slash is a folder to it", *_FOLDERS),
    },
    "s5cmd": {
        **_INTO_FOLDER,
        **_because("it deletes in XML, which cannot hold these characters", "control characters", "no character"),
    },
    "s5cmd trees": {
        **_because("it downloads under a longer name first", "longest segments of a file system"),
        **_because(
            "it quotes what it takes for unprintable, and then does not find the file",
            *CONTROLS,
            "no-break blank",
            "last character before the surrogates",
            "first character after the surrogates",
            "second control set",
            "line separator",
            "byte order mark",
            "no character",
        ),
    },
    "s3cmd": {
        **_INTO_FOLDER,
        **_because("it cuts a name at a line feed", "line feed", "both line ends", "line end at the end"),
    },
    "s3cmd trees": {
        **_because("it writes control characters as a caret and a letter", *CONTROLS),
        **_because("its parser refuses a listing with these characters", "no character"),
    },
    "minio": {
        **_because("it refuses dot segments", *_DOTS),
        **_because("it takes a blank name for none", "blank alone"),
    },
    "obstore": {
        **_because("it refuses dot segments", *_DOTS),
        **_because("it refuses empty segments, or removes them in front", *_EMPTY),
        **_because("it removes a slash at the end", *_FOLDERS),
        **_because("it refuses control characters", *CONTROLS),
        **_because("it deletes in XML, which cannot hold these characters", "no character"),
    },
    "pyarrow": {
        **_because("its HTTP library resolves dot segments after the request was signed", *_DOTS),
        **_because("it refuses empty segments", *_EMPTY),
        **_because("a name that ends with a slash is a folder to it", *_FOLDERS),
    },
}
"""By client (or what it does with them) and name: why the client cannot say it."""


def cases(client: str, names: Iterable[str] = HARD) -> list[Any]:
    """The hard names as parameters `(label, key)` of a test; those that the client cannot say are skipped with the reason."""
    excluded = EXCLUDED.get(client, {})
    return [
        pytest.param(
            HARD[label],
            id=label,
            marks=[pytest.mark.skip(reason=f"{client}: {excluded[label]}")] if label in excluded else [],
        )
        for label in names
    ]


def sayable(client: str, names: Iterable[str] = HARD) -> list[str]:
    """The keys among the hard names that a client can say."""
    excluded = EXCLUDED.get(client, {})
    return [HARD[label] for label in names if label not in excluded]


def is_path(key: str) -> bool:
    """A file of that relative path can exist on this machine: such names travel as trees."""
    segments = key.split("/")
    return all(segment not in ("", ".", "..") and len(segment.encode()) <= 255 for segment in segments)


IN_TREES: Final = tuple(label for label, key in HARD.items() if is_path(key) and not key.startswith("clash"))
"""Labels of names that files have."""
ALONE: Final = tuple(label for label in HARD if label not in IN_TREES)
"""Labels of names that no file has."""


def in_order(keys: Iterable[str]) -> list[str]:
    """The order of every S3 listing: by the bytes of UTF-8."""
    return sorted(keys, key=str.encode)


def in_xml(key: str) -> bool:
    """XML 1.0 can hold every character of it (section 2.2); others reach S3 in request targets, never in a body."""
    return all(
        sign in "\t\n\r" or "\x20" <= sign <= "\ud7ff" or "\ue000" <= sign <= "\ufffd" or sign >= "\U00010000"
        for sign in key
    )
