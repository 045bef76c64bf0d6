"""Check: requirements on the measures of a model, such as speedup>=4, computed afresh."""
