"""The form of a function's name, `package.module:function`."""

from __future__ import annotations

import re

FUNCTION_NAME = r"[A-Za-z_][\w.]*:[A-Za-z_]\w*"
_FUNCTION = re.compile(FUNCTION_NAME)


def is_function_name(text: str) -> bool:
    """Whether `text` has the form of a function's name."""
    return bool(_FUNCTION.fullmatch(text))
