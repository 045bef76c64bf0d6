"""What became of each mutant, kept in a file while the runs go on."""

from __future__ import annotations

import hashlib
import json
from functools import cache

from mutants.coverage_map import CACHE, ROOT, SOURCE, digest
from mutants.server import Trial, Verdict

FILE = CACHE / "session.jsonl"
_KILLED = ("killed", "time")


class Session:
    """The records of all runs so far; the last one of a mutant counts, but once killed it stays killed."""

    def __init__(self) -> None:
        self._records: dict[tuple[str, str], dict[str, str | float]] = {}
        self.read()

    def read(self) -> None:
        """Reads what was written since."""
        if FILE.exists():
            for line in FILE.read_text(encoding="utf-8").splitlines():
                record = json.loads(line)
                key = record["mutant"], record["mode"]
                before = self._records.get(key)
                stays = before and before["outcome"] in _KILLED and before["source"] == record["source"]
                if not (stays and record["outcome"] not in _KILLED):  # who was killed once stays so
                    self._records[key] = record

    def knows(self, trial: Trial, mode: str = "in place") -> bool:
        """Whether a mutant need not be run again.

        Its source is the same; the test that killed it is still one of its tests or, if it survived, all are the same.
        """
        record = self._records.get((trial.mutant.name, mode))
        if record is None or record["source"] != digest(SOURCE / trial.mutant.file):
            return False
        return record["tests"] == _tests(trial) or (
            record["outcome"] in _KILLED and record["test"] in trial.tests
        )

    def add(self, trial: Trial, verdict: Verdict, mode: str = "in place") -> None:
        """Adds a record."""
        record: dict[str, str | float] = {
            "mutant": trial.mutant.name,
            "mode": mode,
            "source": digest(SOURCE / trial.mutant.file),
            "tests": _tests(trial),
            "outcome": verdict.outcome,
            "test": verdict.test,
            "seconds": verdict.seconds,
        }
        self._records[trial.mutant.name, mode] = record
        FILE.parent.mkdir(parents=True, exist_ok=True)
        with FILE.open("a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")

    def verdicts(self) -> dict[str, Verdict]:
        """By the name of a mutant, what became of it: killed in one mode is killed."""
        found: dict[str, Verdict] = {}
        for (name, _), record in sorted(self._records.items(), key=lambda one: one[0][1], reverse=True):
            verdict = Verdict(str(record["outcome"]), str(record["test"]), float(record["seconds"]))
            if found.get(name, verdict).outcome not in _KILLED:
                found[name] = verdict
            found.setdefault(name, verdict)
        return found


@cache
def _digest_of_file(name: str) -> str:
    return digest(ROOT / name)


def _tests(trial: Trial) -> str:
    files = sorted({test.partition("::")[0] for test in trial.tests})
    text = "\n".join([*sorted(trial.tests), *map(_digest_of_file, files)])
    return hashlib.sha256(text.encode()).hexdigest()[:16]
