"""A model as layers: weight matrices, geometry, MAC counts, metrics."""
