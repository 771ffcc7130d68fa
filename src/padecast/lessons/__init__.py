"""What uncached runs teach of a model, and the plans that come of it, without a calibration.

The way through this package: a ``collector`` gathers what the steps of one run added, in bounded memory, and makes a
``look`` of it; a ``lesson`` adds up looks and is read at the noise levels of any schedule by ``interpolation``;
``cost`` says what a plan leaves wrong, ``planner`` searches plans by ``moves`` of single steps, ``field`` lists those
worth trying, and ``extrapolation`` says what to forecast with; ``gains`` are what errors were
seen to do to the image; ``identity`` says whose a lesson is; ``file`` and
``library`` keep it. Nothing here knows an image or a prompt.
"""

from padecast.lessons.collector import Collector as Collector
from padecast.lessons.gains import Gains
from padecast.lessons.identity import Identity
from padecast.lessons.lesson import Lesson
from padecast.lessons.library import Entry, Library
from padecast.lessons.look import Look
from padecast.lessons.planner import Planner
from padecast.lessons.planner import Proposal as Proposal
from padecast.lessons.teacher import Teacher

__all__ = ["Entry", "Gains", "Identity", "Lesson", "Library", "Look", "Planner", "Teacher"]
