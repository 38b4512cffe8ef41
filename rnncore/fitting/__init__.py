"""Training loops: data in batches, losses and metrics by name, checkpoints, a history."""
