"""Look at one model with one sampler once, and keep the best plan and forecaster for every budget.

The way through this package: ``collect`` watches uncached runs (``sketch`` bounds memory) and makes a ``statistic``;
``planner`` proposes plans from it; ``trials`` runs them; ``choice`` halves the field and ``refine`` fits weights;
``allowance`` does with little, by plans of lessons;
``calibration`` answers what users ask, ``matching`` refuses runs that it was not made for; ``file``,
``schema``, ``entry`` and ``journal`` keep it.
"""

from padecast.calibration._calibrate import calibrate, fitting_work, price
from padecast.calibration.allowance import EFFORTS, Allowance
from padecast.calibration.calibration import Calibration, Point
from padecast.calibration.candidate import Candidate
from padecast.calibration.choice import Effort
from padecast.calibration.collect import Keeper
from padecast.calibration.exact import exact_plans
from padecast.calibration.matching import Fit, Schedule
from padecast.calibration.planner import Objective, propose
from padecast.calibration.refine import Refinement
from padecast.calibration.statistic import Statistic

__all__ = [
    "EFFORTS",
    "Allowance",
    "Calibration",
    "Candidate",
    "Effort",
    "Fit",
    "Keeper",
    "Objective",
    "Point",
    "Refinement",
    "Schedule",
    "Statistic",
    "calibrate",
    "exact_plans",
    "fitting_work",
    "price",
    "propose",
]
