"""Bodies as sealed frames: what lies in spool and grids of an object that is encrypted.

Answers for random access to ciphertext, and for noticing every change of it: a flipped bit, a frame that is missing, doubled, moved
or cut off, a part in the place of another. Pure; it neither makes keys nor keeps them. Invariant: no plaintext leaves here that was
not verified, and no key seals two frames with the same nonce.

A *stretch* is a body that was received as one, a whole object or a part of a multipart upload:

    stretch   header, then its frames: every one but the last has FRAME_BYTES of plaintext (an empty body has one empty frame)
    header    MAGIC, part number (2 bytes), salt (32), length of the envelope (2), envelope
    envelope  kind (1), then wrapped data key, KMS key id and KMS context, each behind its length (2)
    frame     its length on the wire (4 bytes, big-endian, the first bit says that it is the last), ciphertext, tag (16)

A multipart object is its parts' stretches, one after the other. The frames' key is HKDF-SHA256 (RFC 5869) of the data key with the
stretch's salt, and the header as info: so each stretch has a key of its own, and a header that was changed opens nothing. A frame is
AES-256-GCM (NIST SP 800-38D); its nonce is the last-frame flag and its number, as in STREAM (Hoang, Reyhanitabar, Rogaway, Vizar 2015),
its additional data the four bytes before it. That the data key belongs to this bucket and key is said where it is wrapped.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from holdfast.limits import FRAME_BYTES
from holdfast.model import Seal, SealKind, Span, Value

MAGIC: Final = b"HFSEAL1\n"
SALT_BYTES: Final = 32
_TAG_BYTES: Final = 16
_HEAD_BYTES: Final = 4
OVERHEAD_BYTES: Final = _HEAD_BYTES + _TAG_BYTES
"""What a frame takes beside its plaintext."""
_STEP: Final = FRAME_BYTES + OVERHEAD_BYTES
_LAST: Final = 1 << 31
_FIXED_BYTES: Final = len(MAGIC) + 2 + SALT_BYTES + 2
_KINDS: Final = {SealKind.S3: 1, SealKind.KMS: 2, SealKind.CUSTOMER: 3}


class Damaged(Exception):
    """These bytes are not what was sealed, or not in the place where they were."""


def derive(key: bytes, salt: bytes, info: bytes) -> bytes:
    """A key of 32 bytes out of another one, for one purpose."""
    return HKDF(algorithm=SHA256(), length=32, salt=salt, info=info).derive(key)


def cipher_of(key: bytes, header: bytes) -> AESGCM:
    """What seals and opens the frames of one stretch."""
    return AESGCM(derive(key, header[len(MAGIC) + 2 : _FIXED_BYTES - 2], header))


# --- headers ---


def header_of(seal: Seal, number: int, salt: bytes) -> bytes:
    """What a stretch begins with: enough to open it, except the key under which its data key is wrapped."""
    envelope = bytes([_KINDS[seal.kind]])
    for field in (seal.wrapped, seal.key_id.encode(), seal.context.encode()):
        envelope += len(field).to_bytes(2, "big") + field
    return MAGIC + number.to_bytes(2, "big") + salt + len(envelope).to_bytes(2, "big") + envelope


class Header(Value, frozen=True):
    """A header that was read back."""

    data: bytes
    number: int
    seal: Seal
    """Without the size of the object."""


def read_header(read: Callable[[int], bytes]) -> Header | None:
    """The header that comes next; None at the end. `read` gives so many bytes, fewer only at the end. Raises Damaged."""
    fixed = read(_FIXED_BYTES)
    if not fixed:
        return None
    if len(fixed) < _FIXED_BYTES or not fixed.startswith(MAGIC):
        raise Damaged("no sealed stretch begins here")
    number = int.from_bytes(fixed[len(MAGIC) : len(MAGIC) + 2], "big")
    salt = fixed[len(MAGIC) + 2 : -2]
    envelope = read(int.from_bytes(fixed[-2:], "big"))
    fields: list[bytes] = []
    at = 1
    while at + 2 <= len(envelope):
        end = at + 2 + int.from_bytes(envelope[at : at + 2], "big")
        fields.append(envelope[at + 2 : end])
        at = end
    kinds = [kind for kind, mark in _KINDS.items() if envelope[:1] == bytes([mark])]
    if at != len(envelope) or len(fields) != 3 or not kinds:
        raise Damaged("the envelope is damaged")
    wrapped, key_id, context = fields
    try:
        seal = Seal(kinds[0], wrapped, salt=salt, key_id=key_id.decode(), context=context.decode())
    except UnicodeDecodeError as trouble:
        raise Damaged("the envelope is damaged") from trouble
    return Header(fixed + envelope, number, seal)


# --- sizes ---


def frame_count(plain_bytes: int) -> int:
    """Frames of a stretch with so much plaintext."""
    return max(1, -(-plain_bytes // FRAME_BYTES))


def stored_size(plain_bytes: int, header_bytes: int) -> int:
    """Bytes of a whole stretch."""
    return header_bytes + plain_bytes + frame_count(plain_bytes) * OVERHEAD_BYTES


def sealed_so_far(plain_bytes: int, header_bytes: int) -> int:
    """Bytes that a `Sealer` has given of a stretch of which so much plaintext has come: the frame that may be the last waits."""
    return 0 if not plain_bytes else header_bytes + (plain_bytes - 1) // FRAME_BYTES * _STEP


class Stretch(Value, frozen=True):
    """Where a stretch lies: in the object as clients know it, and in what is kept."""

    header: bytes
    plain: int
    plain_start: int
    start: int

    @property
    def plain_end(self) -> int:
        return self.plain_start + self.plain

    @property
    def end(self) -> int:
        return self.start + stored_size(self.plain, len(self.header))

    def frame_at(self, number: int) -> int:
        """Where a frame lies in what is kept."""
        return min(self.start + len(self.header) + number * _STEP, self.end)


# --- sealing ---


def _nonce(number: int, last: bool) -> bytes:
    return bytes([last]) + number.to_bytes(11, "big")


class Sealer:
    """Seals one stretch: `add` in order, then `finish` once. Not for several threads at once."""

    def __init__(self, key: bytes, header: bytes) -> None:
        self._cipher = cipher_of(key, header)
        self._header = header
        self._begun = False
        self._held = b""
        self._number = 0

    def add(self, pieces: Sequence[bytes]) -> bytes:
        """The frames that these pieces fill. What may be the last frame waits."""
        data = b"".join((self._held, *pieces))
        if not data:
            return b""
        whole = (len(data) - 1) // FRAME_BYTES
        view = memoryview(data)
        out = self._opening()
        for at in range(0, whole * FRAME_BYTES, FRAME_BYTES):
            out += self._frame(view[at : at + FRAME_BYTES], last=False)
        self._held = data[whole * FRAME_BYTES :]
        return b"".join(out)

    def finish(self) -> bytes:
        """The last frame."""
        return b"".join(self._opening() + self._frame(self._held, last=True))

    def _opening(self) -> list[bytes]:
        begun, self._begun = self._begun, True
        return [] if begun else [self._header]

    def _frame(self, plain: bytes | memoryview, *, last: bool) -> list[bytes]:
        head = (len(plain) + OVERHEAD_BYTES | (_LAST if last else 0)).to_bytes(_HEAD_BYTES, "big")
        number, self._number = self._number, self._number + 1
        return [head, self._cipher.encrypt(_nonce(number, last), plain, head)]


def seal_whole(key: bytes, header: bytes, data: bytes) -> bytes:
    """A small body as a stretch."""
    sealer = Sealer(key, header)
    return sealer.add([data]) + sealer.finish()


# --- opening ---


class Opener:
    """Opens a span of an object: `stored` are the bytes to be read, `add` gives of them what lies within the span.

    `stretches` are all of the object, in order; the span is not empty and lies within them. Not for several threads at once.
    """

    def __init__(self, key: bytes, stretches: Sequence[Stretch], span: Span) -> None:
        self._key = key
        self._span = span
        self._asked = [one for one in stretches if one.plain_start < span.end and one.plain_end > span.start]
        first, last = self._asked[0], self._asked[-1]
        start = first.frame_at((span.start - first.plain_start) // FRAME_BYTES)
        end = last.frame_at((span.end - 1 - last.plain_start) // FRAME_BYTES + 1)
        self.stored = Span(start, end)
        self._steps = self._plan()
        self._step = next(self._steps, None)
        self._held = b""

    def add(self, data: bytes) -> bytes:
        """The plaintext that the bytes so far make whole. Raises Damaged."""
        view = memoryview(self._held + data if self._held else data)
        out: list[bytes | memoryview] = []
        at = 0
        while self._step is not None and len(view) - at >= self._step[0]:
            size, opened = self._step
            out.append(opened(view[at : at + size]))
            at += size
            self._step = next(self._steps, None)
        self._held = bytes(view[at:])
        return b"".join(out)

    def finish(self) -> None:
        """Raises Damaged when bytes are missing, or too many."""
        if self._step is not None or self._held:
            raise Damaged("it ends in the wrong place")

    def _plan(self) -> "Iterator[tuple[int, Callable[[memoryview], bytes | memoryview]]]":
        """What comes next: so many bytes, and what they mean."""
        for stretch in self._asked:
            frames = _Frames(self._key, stretch, self._span)
            if stretch.plain_start > self._span.start:
                yield len(stretch.header), frames.skip
            low = max(self._span.start - stretch.plain_start, 0) // FRAME_BYTES
            high = (min(self._span.end, stretch.plain_end) - 1 - stretch.plain_start) // FRAME_BYTES
            for number in range(low, max(low, high) + 1):
                size = stretch.frame_at(number + 1) - stretch.frame_at(number)
                yield size, partial(frames.open, number)


class _Frames:
    """What is asked of one stretch."""

    def __init__(self, key: bytes, stretch: Stretch, span: Span) -> None:
        self._cipher = cipher_of(key, stretch.header)
        self._stretch = stretch
        self._span = span

    def skip(self, data: memoryview) -> bytes:
        if data != self._stretch.header:
            raise Damaged("the header of a part is another one")
        return b""

    def open(self, number: int, frame: memoryview) -> memoryview:
        """What of a frame lies in the span."""
        last = number == frame_count(self._stretch.plain) - 1
        plain = open_frame(self._cipher, number, frame, last=last)
        start = self._stretch.plain_start + number * FRAME_BYTES
        return memoryview(plain)[max(0, self._span.start - start) : max(0, self._span.end - start)]


def open_frame(cipher: AESGCM, number: int, frame: bytes | memoryview, *, last: bool) -> bytes:
    """The plaintext of a frame with the four bytes before it. Raises Damaged."""
    head = bytes(frame[:_HEAD_BYTES])
    if int.from_bytes(head, "big") != len(frame) | (_LAST if last else 0):
        raise Damaged(f"frame {number} has another length, or another one is the last")
    try:
        return cipher.decrypt(_nonce(number, last), frame[_HEAD_BYTES:], head)
    except InvalidTag as trouble:
        raise Damaged(f"frame {number} is damaged, or belongs elsewhere") from trouble


def open_copy(read: Callable[[int], bytes], key_of: Callable[[Seal], bytes]) -> Iterator[bytes]:
    """The object that a whole copy has, with nothing but the copy: `read` gives so many bytes, fewer only at the end; `key_of` unwraps
    the data key. Raises Damaged.

    Parts are told by their numbers, which must rise; that one of them is missing only the index can tell, which knows them all.
    """
    previous = 0
    key = b""
    wrapped = b""
    while (header := read_header(read)) is not None:
        if header.number <= previous or (wrapped and header.seal.wrapped != wrapped):
            raise Damaged(f"part {header.number} does not belong behind part {previous}")
        if not wrapped:
            wrapped, key = header.seal.wrapped, key_of(header.seal)
        cipher = cipher_of(key, header.data)
        last, number = False, 0
        while not last:
            head = read(_HEAD_BYTES)
            size = int.from_bytes(head, "big")
            last = bool(size & _LAST)
            size &= ~_LAST
            if len(head) < _HEAD_BYTES or not OVERHEAD_BYTES <= size <= _STEP or (size < _STEP and not last):
                raise Damaged(f"frame {number} of part {header.number} is damaged")
            yield open_frame(cipher, number, head + read(size - _HEAD_BYTES), last=last)
            number += 1
        previous = header.number
    if not previous:
        raise Damaged("it is empty")
