"""What padecast itself costs, by the name that it is asked for: ``python benchmarks/overhead.py --part cuda``.

The script is benchmarks/cost/measure.py.
"""

import runpy
import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parent.parent)
    runpy.run_module("benchmarks.cost.measure", run_name="__main__", alter_sys=True)
