"""Compress: the whole chain towards a goal, within a drop that can be borne."""
