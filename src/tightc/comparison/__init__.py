"""Compare: ways to arrange the same weights, side by side on the same chip."""
