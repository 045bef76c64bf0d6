"""tightc: pruned networks, dense again."""
