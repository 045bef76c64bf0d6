"""Options of evaluate."""

from __future__ import annotations

from pydantic import Field

from tightc.config.options import Options


class EvaluateOptions(Options):
    """Batch size and threads of onnxruntime; the accuracy does not depend on them."""

    batch_size: int = Field(default=256, ge=1, description="images per batch: an integer from 1")
    threads: int = Field(default=0, ge=0, description="threads of onnxruntime: an integer from 0 (all cores)")
