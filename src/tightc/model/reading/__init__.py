"""Reading: what a model from another tool needs before the stages take it, and sentences about what was done."""
