"""Recipes that the tests run."""

from __future__ import annotations

HEAD = "model: net.onnx\nstages:\n"
HALF = "prune: {sparsity: 0.5}"
CHAIN = """model: net.onnx
seed: 3
stages:
  - prune: {sparsity: 0.8}
  - permute: {array: 8x8, fan_in: 3, temp_schedule: {steps: 5, moves_per_weight: 30}}
  - pack
  - simulate
"""
NAMES = ["00-dense", "01-prune", "02-permute", "03-pack", "03-simulate"]
