"""The form of an upload, piece by piece: its fields, then the bytes of its file.

Answers for `multipart/form-data` as a value: bytes in, fields and content out, no socket. The fields in front of the file are
bounded, of the file no more is held than a delimiter is long. RFC 7578, RFC 2046 section 5.1.
Invariant: content that was given out is that of the file part, whichever way the bytes were cut.
"""

import re
from typing import Final

from holdfast.errors import S3Error
from holdfast.limits import FORM_BYTES

_TYPE: Final = re.compile(r"\s*multipart/form-data\s*(?:;|$)", re.IGNORECASE)
_BOUNDARY: Final = re.compile(r'(?:^|[;\s])boundary=(?:"([^"]+)"|([^\s;,"]+))', re.IGNORECASE)
_NAME: Final = re.compile(r'(?:^|[;\s])name=(?:"([^"]*)"|([^\s;"]+))', re.IGNORECASE)
_FILENAME: Final = re.compile(r'(?:^|[;\s])filename=(?:"([^"]*)"|([^\s;"]+))', re.IGNORECASE)
_BOUNDARY_CHARS: Final = 70


def is_form(content_type: str) -> bool:
    """Whether a body of this type is an upload form."""
    return _TYPE.match(content_type) is not None


def boundary_of(content_type: str) -> bytes:
    """What separates the parts of a form. Raises MalformedPOSTRequest when it does not say so."""
    found = _BOUNDARY.search(_TYPE.sub("", content_type))
    text = "" if found is None else (found[1] or found[2])
    if not text or len(text) > _BOUNDARY_CHARS or not text.isascii():
        raise _malformed("the content type has no boundary")
    return text.encode()


class FormParser:
    """Feed it the body of a request. `fields` are complete once `at_file`; names are in lower case."""

    def __init__(self, boundary: bytes) -> None:
        self._delimiter = b"\r\n--" + boundary
        self._buffer = bytearray(b"\r\n")
        """Not yet understood; in front of it the line break that the first delimiter does without."""
        self._ended = False
        self._fields_bytes = 0
        self._rest_bytes = 0
        self.fields: dict[str, str] = {}
        self.filename = ""
        self.at_file = False

    def feed(self, data: bytes) -> bytes:
        """What of the file these bytes bring. Raises MalformedPOSTRequest, MaxPostPreDataLengthExceeded."""
        if self._ended:
            # Fields behind the file mean nothing; they are counted, so that they end.
            self._rest_bytes += len(data)
            if self._rest_bytes > FORM_BYTES:
                raise _malformed(f"more than {FORM_BYTES} bytes behind the file")
            return b""
        self._buffer += data
        if not self.at_file:
            while not self.at_file and self._field():
                pass
            if not self.at_file:
                if self._fields_bytes + len(self._buffer) > FORM_BYTES:
                    raise S3Error("MaxPostPreDataLengthExceeded")
                return b""
        return self._content()

    def end(self) -> None:
        """The body is over. Raises MalformedPOSTRequest when the form is not, and InvalidArgument without a file."""
        if not self.at_file and not self._buffer.startswith(self._delimiter + b"--"):
            raise _malformed("the form has no end")
        if not self.at_file:
            raise _no_file()
        if not self._ended:
            raise _malformed("the file has no end")

    def _content(self) -> bytes:
        buffer = self._buffer
        at = buffer.find(self._delimiter)
        if at >= 0:
            self._ended = True
            content = bytes(memoryview(buffer)[:at])
            buffer.clear()
            return content
        sure = len(buffer) - len(self._delimiter) + 1
        if sure <= 0:
            return b""
        content = bytes(memoryview(buffer)[:sure])
        del buffer[:sure]
        return content

    def _field(self) -> bool:
        """Take one field off the buffer, or the head of the file; False when there is no whole one."""
        buffer, delimiter = self._buffer, self._delimiter
        if len(buffer) < len(delimiter):
            if not delimiter.startswith(buffer):
                raise _malformed("the form does not begin with its boundary")
            return False
        if not buffer.startswith(delimiter):
            raise _malformed("the form does not begin with its boundary")
        head_at = buffer.find(b"\r\n", len(delimiter))
        if head_at < 0:
            return False
        if buffer[len(delimiter) : len(delimiter) + 2] == b"--":
            raise _no_file()
        body_at = buffer.find(b"\r\n\r\n", head_at)
        if body_at < 0:
            return False
        name, filename = _disposition(bytes(buffer[head_at + 2 : body_at + 2]))
        body_at += 4
        if name == "file":
            self._fields_bytes += body_at
            self.filename, self.at_file = filename or "", True
            del buffer[:body_at]
            return True
        # The delimiter of an empty value begins with the line break that ends the head.
        end = buffer.find(delimiter, body_at - 2)
        if end < 0:
            return False
        if name in self.fields:
            raise _malformed(f"the field {name} came twice")
        self.fields[name] = _text(bytes(buffer[body_at:end]))
        self._fields_bytes += end
        if self._fields_bytes > FORM_BYTES:
            raise S3Error("MaxPostPreDataLengthExceeded")
        del buffer[:end]
        return True


def _disposition(head: bytes) -> tuple[str, str | None]:
    """Name, in lower case, and file name of a part."""
    for line in head.split(b"\r\n"):
        name, _, value = _text(line).partition(":")
        if name.strip().lower() == "content-disposition":
            kind, _, parameters = value.strip().partition(";")
            found, filename = _NAME.search(parameters), _FILENAME.search(parameters)
            if kind.strip().lower() == "form-data" and found is not None:
                return (found[1] or found[2] or "").lower(), None if filename is None else (filename[1] or filename[2])
    raise _malformed("a part without a name")


def _text(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError:
        return data.decode("latin-1")


def _no_file() -> S3Error:
    fields = {"ArgumentName": "file", "ArgumentValue": "0"}
    return S3Error("InvalidArgument", "POST requires exactly one file upload per request.", fields=fields)


def _malformed(detail: str) -> S3Error:
    return S3Error("MalformedPOSTRequest", detail=detail)
