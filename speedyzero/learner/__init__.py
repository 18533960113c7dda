"""The learner: unrolls the model on each batch and publishes weights."""
