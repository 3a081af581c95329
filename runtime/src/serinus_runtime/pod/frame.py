"""An answer in the log of a container, in a form that nothing else that is printed there can be taken for.

    serinus-answer-1 <bytes> <HMAC-SHA256 in hex>
    <the answer as compressed JSON, in base64, on lines of 4,096 characters>
    serinus-answer-end

The key of the HMAC is that of the question. It covers the digest of the question as well. So an answer that is
accepted is whole, unchanged, and the answer to that question.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import zlib
from typing import Any, Iterable, Mapping, Sequence

LONGEST = 6 << 20
"""The number of bytes of a compressed answer. With base64 it fits into one file of the container's log, of which the
kubelet keeps 10 MiB by default."""
_MOST_UNPACKED = 64 << 20
_WIDTH = 4096
_BEGIN, _END = "serinus-answer-1", "serinus-answer-end"
MOST_LINES = LONGEST * 4 // 3 // _WIDTH + 200
"""The number of lines of a log that an answer can take, with what may stand around it."""


class TooLong(ValueError):
    """The answer does not fit into a log."""


class NoAnswer(ValueError):
    """There is no answer, or it is not whole, or not the answer to this question."""


def framed(document: Mapping[str, Any], key: bytes, question: str) -> bytes:
    """Returns the lines of the answer `document`. `question` is the digest of the question. Raises TooLong."""
    packed = zlib.compress(json.dumps(document).encode())
    if len(packed) > LONGEST:
        raise TooLong(f"its answer is longer than {LONGEST >> 20} MiB when it is compressed")
    text = base64.b64encode(packed).decode()
    lines = [text[at : at + _WIDTH] for at in range(0, len(text), _WIDTH)]
    head = f"{_BEGIN} {len(packed)} {_signature(packed, key, question)}"
    return "\n".join(("", head, *lines, _END, "")).encode()


def read(log: Iterable[str], key: bytes, question: str) -> Mapping[str, Any]:
    """Returns the last answer in the lines of a log. Raises NoAnswer."""
    begin, lines = _last(log)
    try:
        _, size, signature = begin.split(" ")
        packed = base64.b64decode("".join(lines), validate=True)
    except (ValueError, binascii.Error) as error:
        raise NoAnswer("the log of its container holds no whole answer") from error
    if size != str(len(packed)):
        raise NoAnswer(f"the answer in the log of its container has {len(packed)} bytes of {size[:20]}")
    if not hmac.compare_digest(signature, _signature(packed, key, question)):
        raise NoAnswer("the answer in the log of its container is not signed with the key of the question")
    unpacker = zlib.decompressobj()
    content = unpacker.decompress(packed, _MOST_UNPACKED)
    if unpacker.unconsumed_tail:
        raise NoAnswer(f"its answer is longer than {_MOST_UNPACKED >> 20} MiB")
    document: Mapping[str, Any] = json.loads(content)
    return document


def _last(log: Iterable[str]) -> tuple[str, Sequence[str]]:
    """Returns the head and the lines of the last answer that has an end. An empty head: there is none."""
    head, inside = "", False
    lines: list[str] = []
    found: tuple[str, Sequence[str]] = "", ()
    for line in log:
        line = line.strip()
        if line.startswith(_BEGIN + " "):
            head, inside, lines = line, True, []
        elif inside and line == _END:
            found, inside = (head, lines), False
        elif inside:
            lines.append(line)
    return found


def _signature(packed: bytes, key: bytes, question: str) -> str:
    return hmac.new(key, f"{_BEGIN} {question}\n".encode() + packed, hashlib.sha256).hexdigest()
