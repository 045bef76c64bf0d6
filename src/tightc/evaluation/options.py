"""Options of evaluate."""

from __future__ import annotations

from typing import Any

from pydantic import Field, field_validator

from tightc.config.options import Options
from tightc.data.function_name import FUNCTION_NAME, is_function_name

METRICS = ("accuracy", "agreement", "auc", "mae")


class EvaluateOptions(Options):
    """The metric, and batch size and threads of onnxruntime, on which it does not depend."""

    metric: str | None = Field(
        None,
        description="accuracy, agreement (with --teacher), auc, mae or package.module:function; "
        "default: accuracy, or agreement with a teacher",
        examples=list(METRICS),
        json_schema_extra={"pattern": f"^({'|'.join(METRICS)}|{FUNCTION_NAME})$"},
    )
    batch_size: int = Field(default=256, ge=1, description="images per batch: an integer from 1")
    threads: int = Field(
        default=0, ge=0, le=4096, description="threads of onnxruntime: an integer from 0 (all cores)"
    )

    @field_validator("metric")
    @classmethod
    def _known(cls, metric: Any) -> Any:
        if metric is None or metric in METRICS or is_function_name(metric):
            return metric
        raise ValueError(f"should be {', '.join(METRICS)} or package.module:function")
