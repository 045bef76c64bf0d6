"""Sphinx: the site of docs, and API pages from the docstrings. `make docs` builds it, without any network."""

from __future__ import annotations

import tomllib
from pathlib import Path

_PROJECT = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text(encoding="utf-8"))[
    "project"
]

project = "tightc"
author = copyright = "tightc developers"
release = version = _PROJECT["version"]

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
root_doc = "index"
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = f"tightc {release}"
html_show_sourcelink = False
smartquotes = False  # a flag such as --array stays two hyphens

myst_heading_anchors = 3
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
autodoc_default_options = {"exclude-members": "model_config"}
napoleon_google_docstring = False
