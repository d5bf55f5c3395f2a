"""Patterns of policies: `*`, `?` and `${variables}`.

Answers for matching in time proportional to pattern times text, whatever the pattern. Invariant: what a variable stands for is text; a
wildcard in it matches only itself. Source: IAM User Guide, "Policy elements: Variables and tags".
"""

import re
from collections.abc import Mapping
from functools import lru_cache

Context = Mapping[str, tuple[str, ...]]
"""What is known of a request: values by the lower-case names of condition keys."""

_TOKEN = re.compile(r"\$\{(?P<name>[^}]*)\}|(?P<wild>[*?])")
_VARIABLE = re.compile(r"\$\{(?P<name>[^}]*)\}")
_KNOWN = 4096
"""Patterns that are remembered in parts."""

Piece = str | re.Pattern[str]


@lru_cache(_KNOWN)
def _plain(pattern: str) -> tuple[Piece, ...]:
    return _pieces([(token, token in ("*", "?")) for token in re.split(r"([*?])", pattern)])


def _pieces(tokens: list[tuple[str, bool]]) -> tuple[Piece, ...]:
    """What stands between the stars. `tokens` are text, and whether it is a wildcard."""
    pieces: list[Piece] = []
    text, expression, marked = "", "", False
    for token, wild in [*tokens, ("*", True)]:
        if wild and token == "*":
            pieces.append(re.compile(expression, re.DOTALL) if marked else text)
            text, expression, marked = "", "", False
        elif wild:
            expression, marked = expression + ".", True
        else:
            text, expression = text + token, expression + re.escape(token)
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
    size = len(last) if isinstance(last, str) else None
    if size is not None:
        return len(text) - size >= at and text.endswith(str(last))
    assert isinstance(last, re.Pattern)
    return any(last.fullmatch(text, start) for start in range(at, len(text) + 1))


def _at(piece: Piece, text: str, at: int) -> int | None:
    if isinstance(piece, str):
        return at + len(piece) if text.startswith(piece, at) else None
    found = piece.match(text, at)
    return None if found is None else found.end()


def _after(piece: Piece, text: str, at: int) -> int | None:
    if isinstance(piece, str):
        found = text.find(piece, at)
        return None if found < 0 else found + len(piece)
    match = piece.search(text, at)
    return None if match is None else match.end()
