"""What a branch of a run remembers, and the arithmetic on it: nothing else touches features."""
