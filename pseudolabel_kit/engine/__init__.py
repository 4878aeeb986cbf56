"""Training, measuring and checkpoints."""
