"""Packing methods: each is a function from a layer matrix to a Packing, listed in registry.py."""
