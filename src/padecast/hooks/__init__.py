"""A run around a model: where a call lies in the schedule, and what is put around the model."""
