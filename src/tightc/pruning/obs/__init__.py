"""Second-order pruning: which weights go is decided layer by layer, and those that stay take over their work."""
