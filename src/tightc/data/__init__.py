"""Labelled images from the forms that people keep them in."""
