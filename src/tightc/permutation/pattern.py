"""The pattern of N:M sparsity, written `2:4`."""

from __future__ import annotations

import re
from typing import Any, NamedTuple, Self

from pydantic import GetCoreSchemaHandler
from pydantic_core import CoreSchema

from tightc.config.text_coded import text_coded_schema
from tightc.errors import OptionError

LARGEST = 16
_FORM = f"two integers N:M, N from 1 and below M, M up to {LARGEST}, such as 2:4"


class Pattern(NamedTuple):
    """A filter keeps `kept` weights of every `group` inputs."""

    kept: int
    group: int

    @classmethod
    def parse(cls, text: object) -> Self:
        """From `2:4`; OptionError for anything else."""
        found = re.fullmatch(r"(\d{1,3}):(\d{1,3})", str(text).strip())
        if not found or not 1 <= int(found[1]) < int(found[2]) <= LARGEST:
            raise OptionError(f"expected a pattern as N:M, such as 2:4, got {text!r}", f"give {_FORM}")
        return cls(int(found[1]), int(found[2]))

    def __str__(self) -> str:
        return f"{self.kept}:{self.group}"

    @classmethod
    def __get_pydantic_core_schema__(cls, _source: Any, _handler: GetCoreSchemaHandler) -> CoreSchema:
        return text_coded_schema(cls, cls.parse, _FORM, r"^\s*[0-9]{1,3}:[0-9]{1,3}\s*$")


TWO_OF_FOUR = Pattern(2, 4)
