"""Options: strict and frozen, from flags, YAML or Python, with errors that name the key and the remedy."""
