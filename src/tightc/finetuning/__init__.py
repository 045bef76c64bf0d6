"""Finetune: train the nonzero weights, and optionally prune while training."""
