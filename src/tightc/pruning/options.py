"""Options of prune."""

from __future__ import annotations

from typing import Self

from pydantic import model_validator

from tightc.config.options import rule_broken
from tightc.selection.options import SelectionOptions


class PruneOptions(SelectionOptions):
    """How many weights go, where from, and in which units."""

    @model_validator(mode="after")
    def _a_target(self) -> Self:
        if self.share is None:
            raise rule_broken(
                "missing", "needed: a share of zeros such as 0.9, or --budget with --align", "sparsity"
            )
        return self
