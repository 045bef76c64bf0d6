"""The training loop and its parts: optimizer, learning-rate schedules, loss, weight EMA, gradual pruning."""
