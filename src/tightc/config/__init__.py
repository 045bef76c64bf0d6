"""Options: strict, frozen, from flags or from YAML, with errors that name file, line, key and remedy."""
