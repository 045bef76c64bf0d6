"""A network of each family goes through all stages; torch counts its multiply-accumulates."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import onnx
import pytest

import tightc
from helpers.zoo.families import FAMILIES, QUICK, Form, weight_macs
from helpers.zoo.stages import AT_RUN_TIME, check_stages, covered_share

Exported = Callable[[str, Form], Path]
ATTENTION = {"swin": 8, "vit": 6}  # products of two activations: two in each attention


@pytest.mark.parametrize("name", FAMILIES)
def test_every_mac_with_a_weight_is_covered(exported: Exported, name: str) -> None:
    report = tightc.inspect(tightc.load(exported(name, QUICK)))
    assert report.macs == weight_macs(name)
    assert covered_share(report) == 1.0
    assert [row["reason"] for row in report.uncovered] == [AT_RUN_TIME] * ATTENTION.get(name, 0)
    assert not report.notes


@pytest.mark.parametrize("name", FAMILIES)
def test_a_family_goes_through_every_stage(exported: Exported, tmp_path: Path, name: str) -> None:
    check_stages(exported(name, QUICK), tmp_path)


def test_a_weight_that_is_not_covered_is_seen() -> None:
    uncovered = [
        {"name": "a", "operator": "MatMul", "reason": AT_RUN_TIME, "macs": 900},
        {"name": "b", "operator": "Conv", "reason": "its weight is empty", "macs": 25},
    ]
    assert covered_share(tightc.Report("inspect", {"macs": 75}, (), uncovered)) == 0.75


def test_there_are_twenty_families_and_more_and_all_are_small(exported: Exported) -> None:
    assert len(FAMILIES) >= 20
    for name in FAMILIES:
        assert exported(name, QUICK).stat().st_size < 300_000


@pytest.mark.parametrize("name", ["lenet", "autoencoder"])
def test_an_unfolded_export_lists_its_initializers_as_inputs(exported: Exported, name: str) -> None:
    graph = onnx.load(exported(name, Form(9, folded=False))).graph
    assert len(graph.input) == 1 + len(graph.initializer) > 1
