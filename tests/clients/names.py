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

EXCLUDED: Final[Mapping[str, Mapping[str, str]]] = {}
"""By client and name: why the client cannot say it."""


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
