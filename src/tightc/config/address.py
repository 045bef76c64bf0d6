"""Addresses of Dask schedulers, such as tcp://host:8786."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import BeforeValidator, Field

_FORM = re.compile(r"(?:(?:tcp|tls)://)?(?:\[[0-9a-fA-F:.]+\]|[^\s:/\[\]]+):(\d{1,5})")
_LAST_PORT = 65535


def _address(value: Any) -> str | None:
    if value is None:
        return None
    found = _FORM.fullmatch(value) if isinstance(value, str) else None
    if not found or not 0 < int(found[1]) <= _LAST_PORT:
        raise ValueError("should be an address with its port, such as tcp://host:8786")
    return str(value)


_Given = Annotated[str, Field(pattern=f"^{_FORM.pattern}$")] | None
Address = Annotated[str | None, BeforeValidator(_address, json_schema_input_type=_Given)]
