"""The described model classes, and the demo models."""
