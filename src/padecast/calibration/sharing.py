"""What a repository of the Hub says of a calibration, and how ``hub:ORG/NAME`` is one in place of a method."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from padecast.files.hub import Section, slug
from padecast.files.hub.address import is_repo
from padecast.files.hub.picture import Bar
from padecast.targets.pipelines import models_of

if TYPE_CHECKING:
    from padecast.calibration.calibration import Calibration

COLUMNS = ("computed", "speedup", "PSNR, dB", "held out, dB", "worst, dB", "plan")
OBJECTIVES = {"mean": "mean PSNR", "low": "10th percentile of PSNR"}
BASE = "base_model"
"""Where provenance holds the repository of the model."""


def name_file(calibration: Calibration) -> str:
    """Return a name that two settings never share: name, steps, guidance, and a hash of model and schedule.

    Example:
        >>> from padecast import zoo
        >>> name_file(zoo.calibration("digits", "hard"))[:-12]
        'digits-hard_20_g5'
    """
    document = calibration.to_dict()
    setting = json.dumps([document[part] for part in ("model", "schedule", "guidance", "dtype")], sort_keys=True)
    guidance = "" if calibration.guidance is None else f"_g{calibration.guidance:g}"
    key = hashlib.sha256(setting.encode()).hexdigest()[:6]
    return f"{slug(calibration.name)}_{calibration.steps}{guidance}_{key}.json"


def describe(calibration: Calibration) -> Section:
    """Return what the page says: the trade-off, the plans, what was measured, on what and with what."""
    worst = {computed: min(choice.best.psnr.values()) for computed, choice in calibration.choices.items()}
    plans = {computed: choice.best.candidate.plan for computed, choice in calibration.choices.items()}
    rows = [
        (
            f"{point.computed} of {calibration.steps}",
            f"{point.speedup:.2f}x",
            f"{point.psnr:.1f}",
            f"{point.held_out:.1f}",
            f"{worst[point.computed]:.1f}",
            plans[point.computed],
        )
        for point in calibration.curve()
    ]
    bars = [Bar(plans[point.computed], point.psnr) for point in calibration.curve()]
    note = "squares are computed steps, dots forecasts; PSNR against uncached images"
    return Section(_facts(calibration), COLUMNS, rows, f"{calibration.name}: {calibration.steps} steps", note, bars)


def _facts(calibration: Calibration) -> dict[str, str]:
    provenance, model = calibration.provenance, calibration.model
    versions = provenance.get("versions")
    held_out = f", {len(calibration.held_out)} of them held out" if calibration.held_out else ""
    return {
        "model": f"{model['class']} in {model['pipeline']}, {calibration.dtype}; forecast: {model['span']}",
        "sampler": f"{calibration.schedule.scheduler}, {calibration.steps} steps"
        + ("" if calibration.guidance is None else f", guidance {calibration.guidance:g}"),
        "measured": f"PSNR of images against those of all steps computed, {len(calibration.seeds)} samples{held_out}; "
        "speedup is that of the denoiser at best",
        "chosen by": OBJECTIVES.get(calibration.objective, calibration.objective)
        + (f", effort {calibration.effort}" if calibration.effort else ""),
        "device": str(provenance.get("device", "")),
        "software": ", ".join(f"{name} {version}" for name, version in versions.items() if version)
        if isinstance(versions, dict)
        else "",
        "made": str(provenance.get("date", "")),
        "command": str(provenance.get("command", "")),
    }


def explain_use(calibration: Calibration, repo: str) -> str:
    """Return how it is used, in Markdown."""
    computed = calibration.budgets[len(calibration.budgets) // 2]
    return f"""\
```python
import padecast

with padecast.accelerate(pipe, "hub:{repo}", computed={computed}) as run:
    image = pipe(prompt, num_inference_steps={calibration.steps}).images[0]
print(run.report)
```

Each file serves one model, schedule and guidance; a run that none was made for is an error that says what differs.
"""


def find_base(calibration: Calibration) -> str | None:
    """Return the repository that the model came from, if the calibration knows one."""
    base = calibration.provenance.get(BASE)
    return str(base) if is_repo(base) else None


def note_base(pipe: Any) -> dict[str, str]:
    """Return what provenance says of where a pipeline came from: a repository of the Hub, never a folder.

    Example:
        >>> from types import SimpleNamespace
        >>> from torch import nn
        >>> note_base(SimpleNamespace(transformer=nn.Identity(), name_or_path="org/flux"))
        {'base_model': 'org/flux'}
    """
    places = [getattr(pipe, "name_or_path", None)]
    places += [getattr(getattr(model, "config", None), "_name_or_path", None) for model in models_of(pipe)]
    return next(({BASE: str(place)} for place in places if is_repo(place) and not Path(str(place)).exists()), {})
