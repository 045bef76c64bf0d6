"""The files that come with tightc, which options take by name: `edge-32x32` for configs/hardware/edge-32x32.yaml."""

from __future__ import annotations

import os
from pathlib import Path

YAML_ENDINGS = (".yaml", ".yml")
_CONFIGS = Path(__file__).parents[1] / "configs"


def shipped_names(folder: str) -> tuple[str, ...]:
    """The names of the files in a folder of configs, sorted; none for an empty name."""
    return tuple(sorted(path.stem for path in (_CONFIGS / folder).glob("*.yaml"))) if folder else ()


def shipped_file(folder: str, name: str) -> Path:
    """The file of that name in a folder of configs."""
    return _CONFIGS / folder / f"{name}.yaml"


def find_file(text: str, shipped: str, base: Path) -> Path | None:
    """The YAML file that `text` stands for; None where it is neither a path nor a name.

    Text with a slash or a YAML ending is a path, relative to `base`. Other text is a name in the folder `shipped` of
    configs. Without such a folder, only text with a YAML ending is a path.
    """
    if text.endswith(YAML_ENDINGS) or (shipped and "/" in text):
        return base / os.path.expanduser(text)
    return shipped_file(shipped, text) if text in shipped_names(shipped) else None
