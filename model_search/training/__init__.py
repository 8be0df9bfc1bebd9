"""The engine: compiled loop, optimizers and schedules, losses, metrics, checkpoints."""
