"""Tiles and packings: the data type of all methods, its bounds, measures, storage and validity."""
