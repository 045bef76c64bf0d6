"""N:M sparsity with the channel permutation that keeps most magnitude; lossy."""
