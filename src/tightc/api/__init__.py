"""The public functions: thin wrappers of the stages with keywords, defaults and documented parameters."""
