"""Names that come from a file or a model, as text on a terminal and as names of files."""

from __future__ import annotations

import re
from collections.abc import Sequence

_LONGEST_WORD = 300  # characters of a word in a message, such as a name or a path
_LONGEST_MESSAGE = 2000
_LONGEST_STEM = 100  # of a file name, which most file systems limit to 255 bytes with its ending
_SHORT_ESCAPES = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}
_UNSAFE = re.compile(r"[^A-Za-z0-9_.-]+")


def escape(text: str) -> str:
    r"""`text` with `\x1b` and the like in place of what is not printable.

    Those are control characters, line breaks, marks that turn the direction of text, and halves of surrogate pairs.
    """
    return text if text.isprintable() else "".join(map(_escaped, text))


def _escaped(character: str) -> str:
    if character.isprintable():
        return character
    code = ord(character)
    plain = f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
    return _SHORT_ESCAPES.get(character, plain)


def message_text(text: str) -> str:
    """`text` as a message prints it: escaped, with long words and long messages cut in the middle."""
    cut = _shorten(text, 2 * _LONGEST_WORD * _LONGEST_MESSAGE)  # escaping takes time for each character
    words = re.sub(
        rf"\S{{{_LONGEST_WORD + 1},}}", lambda found: _shorten(found[0], _LONGEST_WORD), escape(cut)
    )
    return _shorten(words, _LONGEST_MESSAGE)


def _shorten(text: str, length: int) -> str:
    """`text` without its middle where it is longer than `length`."""
    if len(text) <= length:
        return text
    head = length // 2
    return f"{text[:head]}…{text[head + 1 - length :]}"


def file_stem(name: str) -> str:
    """A file name without ending made from `name`: letters, digits and `_.-`, no leading dot, at most 100 bytes.

    Of a longer name, a digest takes the place of the end.
    """
    stem = _UNSAFE.sub("_", name).strip("_.") or "layer"
    if len(stem) <= _LONGEST_STEM:
        return stem
    import hashlib

    digest = hashlib.sha256(name.encode(errors="surrogatepass")).hexdigest()[:16]
    return f"{stem[: _LONGEST_STEM - 1 - len(digest)]}-{digest}"


def file_stems(names: Sequence[str]) -> list[str]:
    """A stem as of `file_stem` for each of `names`, in the same order.

    Where two would be the same, in capitals or not, the later get a number.
    """
    taken = set(map(str.lower, map(file_stem, names)))
    seen: set[str] = set()
    stems = []
    for name in names:
        stem, number = file_stem(name), 2
        if stem.lower() in seen:
            while f"{stem}_{number}".lower() in taken:
                number += 1
            stem = f"{stem}_{number}"
            taken.add(stem.lower())
        seen.add(stem.lower())
        stems.append(stem)
    return stems
