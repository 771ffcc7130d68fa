"""The same kinds of run with padecast and with other caches; see benchmarks/runs_of_others.py."""
