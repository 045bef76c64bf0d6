"""Recipes: the whole chain from one YAML file."""
