"""Tiles and packings, their bounds, measures and verification: the center of the house."""
