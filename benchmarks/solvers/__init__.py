"""What lessons of uncached runs are worth."""
