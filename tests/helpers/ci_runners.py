"""The jobs of configs/ci as their runners run them: the shell lines, the environment, and what is kept."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
COMMANDS = Path(sys.executable).parent  # with tightc and python


@dataclass
class Ended:
    """How a job ended: the exit code of its first failed step, its log, and the files that are kept."""

    code: int = 0
    log: str = ""
    kept: list[Path] = field(default_factory=list)


def jobs(text: str) -> dict[str, Any]:
    """The jobs of a workflow of GitHub, or of a pipeline of GitLab."""
    document = yaml.safe_load(text)
    return document["jobs"] if "jobs" in document else {k: v for k, v in document.items() if "script" in v}


def run_github(text: str, name: str, folder: Path) -> Ended:
    """A job of a workflow on a runner with Linux: `bash -e` for each step, and after a failure only `if: always()`."""
    workflow = yaml.safe_load(text)
    job = workflow["jobs"][name]
    machine = {"CI": "true", "GITHUB_ACTIONS": "true", "GITHUB_WORKSPACE": str(folder)}
    ended = Ended()
    for step in job["steps"]:
        if ended.code and step.get("if") != "always()":
            continue
        if "uses" in step:
            if step["uses"].startswith("actions/upload-artifact@"):
                ended.kept += [path for path in (folder / step["with"]["path"],) if path.exists()]
            continue
        variables = {**workflow.get("env", {}), **job.get("env", {}), **step.get("env", {})}
        assert "${{" not in str([step["run"], variables]), "an expression that this runner does not know"
        _run(["bash", "-e"], step["run"], {**machine, **variables}, folder, ended)
    return ended


def run_gitlab(text: str, name: str, folder: Path) -> Ended:
    """A job of a pipeline in a container with bash: all lines in one shell that ends on a failure."""
    pipeline = yaml.safe_load(text)
    job = {**pipeline.get("default", {}), **pipeline[name]}
    variables = {**pipeline.get("variables", {}), **job.get("variables", {})}
    machine = {"CI": "true", "GITLAB_CI": "true", "CI_PROJECT_DIR": str(folder)}
    lines = "\n".join([*job.get("before_script", []), *job["script"]])
    ended = Ended()
    _run(["bash", "-eo", "pipefail"], lines, {**machine, **variables}, folder, ended)
    artifacts = job["artifacts"]
    if artifacts.get("when") == "always" or not ended.code:
        path = folder / artifacts["reports"]["junit"]
        ended.kept += [path] if path.exists() else []
    return ended


def _run(shell: list[str], script: str, variables: Mapping[str, str], folder: Path, ended: Ended) -> None:
    """A script in a shell as a runner starts it: from a file, with its own environment and no terminal."""
    file = folder / ".step.sh"
    file.write_text(script)
    environment = {
        "PATH": f"{COMMANDS}{os.pathsep}{os.environ['PATH']}",
        "HOME": str(folder),
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path.endswith("src")),
        "PIP_NO_INDEX": "1",  # what the job installs is there: no test reads the network
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "NUMBA_CACHE_DIR": os.environ.get("NUMBA_CACHE_DIR", ""),
        **variables,
    }
    done = subprocess.run(
        [*shell, str(file)],
        cwd=folder,
        env={name: value for name, value in environment.items() if value},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=300,
    )
    ended.log += done.stdout
    ended.code = ended.code or done.returncode
