"""padecast inside other systems."""
