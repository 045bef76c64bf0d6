"""Inspect: the layers of a model, and which of its operators tightc can pack."""
