"""Tiles and packings, their bounds, measures and verification: the centre of the house."""
