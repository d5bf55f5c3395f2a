"""The one door to XML: bounded trees out of bodies, and text that bodies are built from.

Clients send XML to us, and grids answer us with it. `parse_xml` reads a body piece by piece and stops at the first limit that it passes; document types, entities and
external references are refused. It raises S3Error `MalformedXML` and nothing else, whatever the bytes are.
Names are compared without their namespace, because clients use S3's, none, or one of their own.

Replies are strings put together by `element` and `document`. Characters that XML 1.0 cannot hold leave as
character references, as in Amazon's replies; a client that has such keys asks for `encoding-type=url`.
"""

import re
from collections.abc import Iterator
from urllib.parse import quote

from defusedxml.common import DefusedXmlException
from defusedxml.ElementTree import DefusedXMLParser, ParseError

from holdfast.errors import S3Error
from holdfast.limits import XML_BYTES, XML_DEPTH, XML_NODES

NAMESPACE = "http://s3.amazonaws.com/doc/2006-03-01/"
DECLARATION = b'<?xml version="1.0" encoding="UTF-8"?>\n'
"""What every document begins with; blanks may follow it."""

_FEED_BYTES = 16 * 1024
_SPECIAL = re.compile('[&<>"\\x00-\\x1f\\x7f-\\x9f\ud800-\udfff\ufffe\uffff]')
_NAMED = {"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;"}


class Element:
    """One element: its local name, its own text, and its children in order."""

    __slots__ = ("children", "name", "text")

    def __init__(self, name: str) -> None:
        self.name = name
        self.text = ""
        self.children: list[Element] = []

    def all(self, name: str) -> Iterator["Element"]:
        """The children of this name, in order."""
        return (child for child in self.children if child.name == name)

    def find(self, name: str) -> "Element | None":
        """The first child of this name."""
        return next(self.all(name), None)

    def get(self, name: str) -> str | None:
        """The text of the first child of this name."""
        found = self.find(name)
        return None if found is None else found.text


class _Tree:
    """What the parser reports to. Counts, so that a hostile body ends early."""

    def __init__(self) -> None:
        self.root: Element | None = None
        self._open: list[Element] = []
        self._text: list[str] = []
        self._nodes = 0

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        self._nodes += 1 + len(attributes)
        if self._nodes > XML_NODES:
            raise malformed(f"more than {XML_NODES} elements and attributes")
        if len(self._open) >= XML_DEPTH:
            raise malformed(f"more than {XML_DEPTH} levels")
        element = Element(tag.rpartition("}")[2])
        if self._open:
            self._open[-1].children.append(element)
        else:
            self.root = element
        self._open.append(element)
        self._text.clear()

    def data(self, text: str) -> None:
        self._text.append(text)

    def end(self, tag: str) -> None:
        element = self._open.pop()
        if not element.children:
            element.text = "".join(self._text)
        self._text.clear()

    def close(self) -> None:
        pass


def malformed(detail: str) -> S3Error:
    """The error for a body that is not the XML that was expected; `detail` is for the log."""
    return S3Error("MalformedXML", detail=detail)


def parse_xml(body: bytes, *roots: str, limit_bytes: int = XML_BYTES) -> Element:
    """The tree of `body`, whose outermost element must be one of `roots`. Raises S3Error MalformedXML."""
    if len(body) > limit_bytes:
        raise malformed(f"more than {limit_bytes} bytes")
    tree = _Tree()
    try:
        parser = DefusedXMLParser(target=tree, forbid_dtd=True)
        for at in range(0, len(body), _FEED_BYTES):
            parser.feed(body[at : at + _FEED_BYTES])
        parser.close()
    except (ParseError, DefusedXmlException, ValueError, LookupError) as error:
        raise malformed(str(error)) from error
    if tree.root is None or tree.root.name not in roots:
        raise malformed(f"the outermost element is not {' or '.join(roots)}")
    return tree.root


_FORBIDDEN = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def _reference(match: re.Match[str]) -> str:
    character = match[0]
    named = _NAMED.get(character)
    if named is not None:
        return named
    code = ord(character)
    if code == 13:
        return "&#13;"
    return "\ufffd" if 0xD800 <= code <= 0xDFFF else f"&#x{code:x};"


def escape(text: str) -> str:
    """`text` as character data. Carriage returns and line feeds survive every parser."""
    return _SPECIAL.sub(_reference, text)


def legible(text: str) -> str:
    """`text` with a replacement character for each that XML 1.0 forbids (section 2.2), so that every parser can read it.

    For errors, and where a reply repeats the key of its request: an SDK that cannot parse the body does not learn
    the code, or the upload's id, either.
    """
    return _FORBIDDEN.sub("\ufffd", text)


def element(name: str, value: str | int) -> str:
    """`<name>value</name>`, escaped."""
    return f"<{name}>{escape(value) if isinstance(value, str) else value}</{name}>"


def encode_key(key: str) -> str:
    """A key as `encoding-type=url` has it: slashes stay, a blank is `%20`, because some SDKs leave `+` alone."""
    return quote(key, safe="/", errors="replace")


def document(root: str, content: str, *, namespace: bool = True) -> bytes:
    """A whole reply body around `content`, which is XML already."""
    attribute = f' xmlns="{NAMESPACE}"' if namespace else ""
    return DECLARATION + f"<{root}{attribute}>{content}</{root}>".encode()
