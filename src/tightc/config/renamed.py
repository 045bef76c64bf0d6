"""Options that were renamed or removed: an old key, flag or value ends in one sentence with what to write instead."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping

REMOVED = "removed in 0.4"
_SINCE = "0.3"

# old key -> new key, in the options that have the new one
RENAMED_KEYS: Mapping[str, str] = {
    "average": "ema_decay",
    "distil_temperature": "distill_temperature",
    "distil_weight": "distill_weight",
    "floor": "min_density",
    "images": "calibration_images",
    "keep": "skip",
    "precision": "dtype",
    "prune_every": "pruning_interval",
    "prune_from": "pruning_start",
    "prune_until": "pruning_end",
    "rate": "lr_schedule",
    "regrow_until": "regrow_end",
    "renorm_images": "bn_recalibration_images",
    "schedule": "pruning_schedule",
    "side_by_side": "replicate_tiles",
    "unfold_norms": "unfold_batchnorm",
    "warm_up": "warmup",
}
# key -> old value -> new value
RENAMED_VALUES: Mapping[str, Mapping[str, str]] = {
    "dtype": {"fp32": "float32", "bf16": "bfloat16"},
    "objective": {"side-by-side": "replicated-cycles"},
}


_OTHER_PROGRAM = re.compile(r"\b(?:python -m|hf download)\b")


def new_name(old: str, permitted: Collection[str]) -> str | None:
    """The new name of the key `old` where it is among `permitted`, else None."""
    new = RENAMED_KEYS.get(old)
    return new if new in permitted else None


def new_value(key: str, old: object, permitted: Collection[object]) -> str | None:
    """The new name of the value `old` of `key` where it is among `permitted`, else None."""
    new = RENAMED_VALUES.get(key, {}).get(str(old))
    return new if new in permitted else None


def renaming(new: str) -> tuple[str, str]:
    """(sentence, remedy) for what is called `new` now; the sentence follows the old name."""
    return f"renamed to {new} in {_SINCE}", f"write {new}"


def in_python(text: str) -> str:
    """A message about flags in the words of Python: keywords instead of flags, `images` instead of `--data`.

    Command lines of other programs keep their flags.
    """
    if _OTHER_PROGRAM.search(text):
        return text
    text = re.sub(r"--data( PATH)?\b", "images", text)
    return re.sub(r"--([a-z][a-z0-9-]*)", lambda flag: flag[1].replace("-", "_"), text)
