"""Recipes: a chain of stages in one YAML file."""
