"""The training loop and its parts: optimizer, schedules, loss, gradual pruning, weight EMA, metrics."""
