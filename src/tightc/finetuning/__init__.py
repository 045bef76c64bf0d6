"""Finetune: train the weights that are left."""
