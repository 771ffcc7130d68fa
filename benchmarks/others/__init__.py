"""The same runs with other caches."""
