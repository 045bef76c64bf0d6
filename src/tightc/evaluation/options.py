"""Options of evaluate."""

from __future__ import annotations

from pydantic import Field

from tightc.config.options import Options


class EvaluateOptions(Options):
    """How the images are run; the accuracy does not depend on it."""

    batch_size: int = Field(default=256, ge=1, description="images run at once")
    threads: int = Field(default=0, ge=0, description="threads of onnxruntime; 0 takes every core")
