"""Text of any kind in headers that carry printable ASCII only, and how much room that takes.

Answers for metadata that comes back exactly as it went, through vendors that trim, fold or drop what they do not
like. Values that a header cannot carry as they are are written as RFC 2047 encoded words, the form in which Amazon S3
itself hands out such values, so other clients can read them too. Pure. Invariant: `decode(encode(text)) == text`.
"""

import base64
import binascii
import re
from collections.abc import Mapping

_PLAIN = re.compile(r"[!-~]([ -~]*[!-~])?", re.ASCII)
_WORD = re.compile(r"=\?UTF-8\?B\?([A-Za-z0-9+/]*={0,2})\?=", re.ASCII)


def encode(text: str) -> str:
    """`text` as a header value."""
    if _PLAIN.fullmatch(text) and "=?" not in text and "  " not in text:
        return text
    return f"=?UTF-8?B?{base64.b64encode(text.encode('utf-8', 'surrogatepass')).decode()}?="


def decode(value: str) -> str:
    """What `encode` made a header value of; anything else as it is."""
    found = _WORD.fullmatch(value)
    if found is None:
        return value
    try:
        return base64.b64decode(found[1], validate=True).decode("utf-8", "surrogatepass")
    except (binascii.Error, UnicodeDecodeError):
        return value


def size_bytes(user: Mapping[str, str]) -> int:
    """Bytes of user metadata as vendors count them: names without their prefix, and encoded values."""
    return sum(len(name.encode()) + len(encode(value)) for name, value in user.items())
