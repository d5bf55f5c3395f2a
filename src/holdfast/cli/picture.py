"""What a terminal shows, as an SVG that needs nothing from anywhere else.

Answers for pictures in the documentation that were printed rather than drawn. Invariant: the file names no other host.
"""

import io
import re

from rich.console import Console, RenderableType
from rich.terminal_theme import DIMMED_MONOKAI

# Rich's own template loads its font from a server of others.
from rich._export_format import CONSOLE_SVG_FORMAT  # isort: skip

_FONTS = re.compile(r"@font-face \{\{.*?\}\}", re.DOTALL)


def svg(shown: RenderableType, title: str, *, width: int = 132) -> str:
    """A window with this title and what a terminal of `width` columns shows in it."""
    console = Console(record=True, width=width, file=io.StringIO(), force_terminal=True, highlight=False)
    console.print(shown)
    template = _FONTS.sub("", CONSOLE_SVG_FORMAT).replace(
        "font-family: Fira Code, monospace", "font-family: ui-monospace, Menlo, Consolas, monospace"
    )
    return console.export_svg(title=title, theme=DIMMED_MONOKAI, code_format=template, unique_id="holdfast")
