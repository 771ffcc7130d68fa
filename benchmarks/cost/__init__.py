"""What padecast itself costs."""
