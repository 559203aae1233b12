"""What all trainings share: loop, checkpoints, optimisers, batches, options."""
