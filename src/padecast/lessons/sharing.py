"""What a repository of the Hub says of a lesson."""

from __future__ import annotations

from typing import TYPE_CHECKING

from padecast.files.hub import Section, slug
from padecast.files.hub.picture import Bar
from padecast.lessons import display
from padecast.lessons.planner import Planner

if TYPE_CHECKING:
    from padecast.lessons.lesson import Lesson

SHARES = (0.3, 0.4, 0.5)
"""Numbers of computed steps whose plans are shown, as shares of the steps."""
COLUMNS = ("steps", "noise levels", "runs", "samples")


def name_file(lesson: Lesson) -> str:
    """Return a name that two settings never share: the model, guidance, and the key of the identity."""
    identity = lesson.identity
    guidance = "" if identity.guidance is None else f"_g{identity.guidance:g}"
    return f"{slug(identity.model)}{guidance}_{identity.key[:8]}.lesson.json"


def describe(lesson: Lesson) -> Section:
    """Return what the page says: what was seen of which model, and plans with what is expected of them."""
    identity = lesson.identity
    rows = [(str(look.steps), display.range_of(look), str(look.runs), str(look.samples)) for look in lesson.looks]
    facts = {
        "model": f"{identity.model} {identity.weights[:6]}".strip()
        + (f" in {identity.pipeline}" if identity.pipeline else ""),
        "guidance": "" if identity.guidance is None else f"{identity.guidance:g}",
        "adapters": ", ".join(f"{name} at {scale:g}" for name, scale in identity.adapters),
        "quantization": identity.quantization,
        "forecast": identity.span,
        "holds": "inner products between steps of runs, noise levels and counts: no image, no prompt, no latent",
    }
    note = "squares are computed steps, dots forecasts; decibels are an estimate, nothing was measured"
    return Section(facts, COLUMNS, rows, f"Plans of the lesson of {identity.model}", note, _plan(lesson))


def _plan(lesson: Lesson) -> list[Bar]:
    """Return plans at the grid of most samples; none of a lesson that has learnt nothing."""
    look = max(lesson.looks, key=lambda look: look.samples, default=None)
    if look is None or look.steps < 4:
        return []
    budgets = sorted({max(2, round(share * look.steps)) for share in SHARES})
    proposals = Planner.of(lesson, look.noise).plans(budgets)
    return [
        Bar("".join("C" if step in proposal.steps else "." for step in range(look.steps)), proposal.decibels)
        for proposal in proposals.values()
    ]


def explain_use(repo: str) -> str:
    """Return how it is used, in Markdown."""
    return f"""\
```python
import padecast

lesson = padecast.lessons.Lesson.from_pretrained("{repo}")
padecast.lessons.Library().take(lesson)  # from now on "learned" has it
with padecast.accelerate(pipe, "learned", computed=8) as run:
    image = pipe(prompt).images[0]
print(run.report)
```

A lesson serves the model and setting that it was learnt from, at other numbers of steps too. It holds no
image, no prompt and no latent.
"""
