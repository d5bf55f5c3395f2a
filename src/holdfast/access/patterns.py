"""Patterns of policies: `*`, `?` and `${variables}`.

Answers for matching in time that is bounded whatever the pattern and the text: what stands between two stars is looked for in all of
the text at once. Invariant: what a variable stands for is text; a wildcard in it matches only itself.
Source: IAM User Guide, "Policy elements: Variables and tags".
"""

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import NamedTuple

Context = Mapping[str, tuple[str, ...]]
"""What is known of a request: values by the lower-case names of condition keys."""

_TOKEN = re.compile(r"\$\{(?P<name>[^}]*)\}|(?P<wild>[*?])")
_VARIABLE = re.compile(r"\$\{(?P<name>[^}]*)\}")
_KNOWN = 1024
"""Patterns that are remembered in parts."""
_CHARS_KNOWN = 256
"""Characters of a text whose places are remembered: a policy's patterns look for the same ones again and again."""


class Gapped(NamedTuple):
    """Text between two stars that has a `?` in it."""

    text: str
    kinds: str
    """For each of its characters: `?` where any will do."""

    def fits(self, text: str, at: int) -> bool:
        """Whether it stands there."""
        found = text[at : at + len(self.text)]
        return len(found) == len(self.text) and all(
            kind == "?" or want == have for want, kind, have in zip(self.text, self.kinds, found, strict=True)
        )

    def find(self, text: str, at: int) -> int:
        """The first place from `at` on where it stands, -1 when there is none."""
        room = len(text) - len(self.text) - at + 1
        if room <= 0:
            return -1
        places = (1 << room) - 1 << at
        for place, (char, kind) in enumerate(zip(self.text, self.kinds, strict=True)):
            if kind != "?":
                places &= _places(text, char) >> place
                if not places:
                    return -1
        return (places & -places).bit_length() - 1


Piece = str | Gapped


@lru_cache(_CHARS_KNOWN)
def _places(text: str, char: str) -> int:
    """A bit for each place of a text, the lowest for the first one: whether this character is there."""
    return int("0" + "1".join("0" * len(between) for between in text[::-1].split(char)), 2)


@lru_cache(_KNOWN)
def _plain(pattern: str) -> tuple[Piece, ...]:
    return _pieces([(token, token in ("*", "?")) for token in re.split(r"([*?])", pattern)])


def _pieces(tokens: list[tuple[str, bool]]) -> tuple[Piece, ...]:
    """What stands between the stars. `tokens` are text, and whether it is a wildcard."""
    pieces: list[Piece] = []
    text, kinds = "", ""
    for token, wild in [*tokens, ("*", True)]:
        if wild and token == "*":
            pieces.append(Gapped(text, kinds) if "?" in kinds else text)
            text, kinds = "", ""
        else:
            text += token
            kinds += "?" if wild else "=" * len(token)
    return tuple(pieces)


def _substituted(pattern: str, context: Context) -> tuple[Piece, ...] | None:
    """The pieces of a pattern with variables; None when one of them stands for nothing."""
    tokens: list[tuple[str, bool]] = []
    at = 0
    for found in _TOKEN.finditer(pattern):
        tokens.append((pattern[at : found.start()], False))
        at = found.end()
        if found["wild"]:
            tokens.append((found["wild"], True))
            continue
        value = _variable(found["name"], context)
        if value is None:
            return None
        tokens.append((value, False))
    return _pieces([*tokens, (pattern[at:], False)])


def _variable(text: str, context: Context) -> str | None:
    """What `${text}` stands for: one of three marks, or a key with one value, else its default in quotes."""
    if text in ("*", "?", "$"):
        return text
    name, comma, default = text.partition(",")
    values = context.get(name.strip().lower(), ())
    if len(values) == 1:
        return values[0]
    default = default.strip()
    return default[1:-1] if comma and len(default) >= 2 and default[0] == default[-1] == "'" else None


def substituted(text: str, context: Context) -> str | None:
    """The text with its variables replaced; None when one of them stands for nothing. Stars are text here."""
    pieces: list[str] = []
    at = 0
    for found in _VARIABLE.finditer(text):
        value = _variable(found["name"], context)
        if value is None:
            return None
        pieces += [text[at : found.start()], value]
        at = found.end()
    return "".join([*pieces, text[at:]])


def matches(pattern: str, text: str, context: Context | None = None) -> bool:
    """Whether the whole text fits the pattern. Without a `context`, `${` is text like any other."""
    if pattern == "*" or pattern == text:
        return True
    if context is not None and "${" in pattern:
        pieces = _substituted(pattern, context)
        if pieces is None:
            return False
    else:
        pieces = _plain(pattern)
    return _fits(pieces, text)


def _fits(pieces: tuple[Piece, ...], text: str) -> bool:
    """Leftmost is always right: what follows a star may begin anywhere behind."""
    first, *middle = pieces
    at = _at(first, text, 0)
    if at is None:
        return False
    if not middle:
        return at == len(text)
    last = middle.pop()
    for piece in middle:
        at = _after(piece, text, at)
        if at is None:
            return False
    start = len(text) - _size(last)
    return start >= at and _at(last, text, start) is not None


def _size(piece: Piece) -> int:
    return len(piece if isinstance(piece, str) else piece.text)


def _at(piece: Piece, text: str, at: int) -> int | None:
    there = text.startswith(piece, at) if isinstance(piece, str) else piece.fits(text, at)
    return at + _size(piece) if there else None


def _after(piece: Piece, text: str, at: int) -> int | None:
    found = text.find(piece, at) if isinstance(piece, str) else piece.find(text, at)
    return None if found < 0 else found + _size(piece)
