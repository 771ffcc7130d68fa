"""Measures methods on seeds: fidelity against the uncached run, computed steps, time.

For example::

    from padecast import lab, zoo

    task = lab.Task(zoo.load("digits"), lab.Sampling(guidance=5.0, shift=3.0), steps=20, seeds=range(16))
    comparison = lab.compare(task, ["adaptive", "tc-pade"], nfe=[6, 8])
    print(comparison)  # to_markdown(), to_latex(), to_json() and plot(path) have it too

Caches of other libraries are entered by their names (:mod:`padecast.lab.peers`). A whole experiment is a file
(:mod:`padecast.lab.experiment`), a list of independent cells (:mod:`padecast.lab.cells`) and a page
(:mod:`padecast.lab.html`).

Measures and pictures need the extra ``lab``; it is imported when first used.
"""

from padecast.calibration.provenance import Provenance
from padecast.lab.calls import Call, Sampling
from padecast.lab.cells import Cell
from padecast.lab.experiment import Experiment
from padecast.lab.html import page
from padecast.lab.magnitudes import magnitudes
from padecast.lab.measure import calls, compare, entered, measure
from padecast.lab.metrics import Difference, Spread, fid_digits, frechet, psnr, relative_errors, ssim
from padecast.lab.peers import Peer
from padecast.lab.results import Comparison, Refusal, Result
from padecast.lab.runner import UNCACHED, Drawn, Entry, Task, draw
from padecast.lab.shelf import Shelf
from padecast.lab.tuning import tune

__all__ = [
    "UNCACHED",
    "Call",
    "Cell",
    "Comparison",
    "Difference",
    "Drawn",
    "Entry",
    "Experiment",
    "Peer",
    "Provenance",
    "Refusal",
    "Result",
    "Sampling",
    "Shelf",
    "Spread",
    "Task",
    "calls",
    "compare",
    "draw",
    "entered",
    "fid_digits",
    "frechet",
    "magnitudes",
    "measure",
    "page",
    "psnr",
    "relative_errors",
    "ssim",
    "tune",
]
