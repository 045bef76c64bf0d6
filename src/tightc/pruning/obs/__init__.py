"""Optimal Brain Surgeon (OBS): prune layer by layer, and let the remaining weights compensate the error."""
