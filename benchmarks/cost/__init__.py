"""What padecast itself costs: see benchmarks/overhead.py."""
