"""Messages over a stream socket or pipe: four bytes of length, then the content."""

from __future__ import annotations

import os

MAX_FRAME = 32 * 2**20
"""A longer message is refused, so that no program can fill its reader's memory."""


def write_frame(descriptor: int, content: bytes) -> None:
    """Write one message.

    Raises:
        OSError: the other side has closed.
    """
    left = memoryview(len(content).to_bytes(4, "big") + content)
    while left:
        left = left[os.write(descriptor, left) :]


def read_frame(descriptor: int, begun: bytes = b"") -> bytes:
    """Read one message.

    Args:
        descriptor: where to read it from.
        begun: the bytes of the message that have already been read, if any.

    Raises:
        EOFError: the other side has closed, or announces more than `MAX_FRAME` bytes.
    """
    header = begun[:4] + _read(descriptor, 4 - len(begun[:4]))
    size = int.from_bytes(header, "big")
    if size > MAX_FRAME:
        raise EOFError(f"a message of {size} bytes")
    return begun[4:] + _read(descriptor, size - len(begun[4:]))


def _read(descriptor: int, size: int) -> bytes:
    pieces = []
    while size > 0:
        piece = os.read(descriptor, min(size, 2**20))
        if not piece:
            raise EOFError("the other side has closed")
        pieces.append(piece)
        size -= len(piece)
    return b"".join(pieces)
