"""Compare: ways to arrange the same weights, on the same accelerator."""
