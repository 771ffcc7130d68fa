"""Settings of the demo models that are like real models: matched ones, and demos told as FLUX or as Wan.

At their usual settings the demo models are far smoother than real ones, because their latents are small: most steps are
spent where little happens. In a matched setting they have a schedule and a guidance at which the first steps decide, as
in real models; docs/worlds.md says which lines of real models each meets. As FLUX and as Wan they are enlarged besides:
latents and schedule are those of the real model, and the images those of a matched setting.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from padecast.zoo.sizes import sized


@dataclass(frozen=True)
class World:
    """How a demo model is sampled.

    Args:
        model: Which.
        shift: Of its schedule.
        guidance: Default guidance scale of its pipeline.
        times: How often every latent pixel is there, along either side. Default once: the small model.
    """

    model: str
    shift: float
    guidance: float
    times: int = 1


FLUX_SHIFT = 3.1581929  # e ** 1.15, what FLUX.1-dev's scheduler has at 1024 x 1024 pixels
WORLDS = {
    "digits:matched": World("digits", 0.2, 9.0),
    "digits:as-flux": World("digits", FLUX_SHIFT, 9.0, 32),
    "scenes:matched": World("scenes", 0.2, 5.0),
    "scenes:as-flux": World("scenes", FLUX_SHIFT, 5.0, 16),
    "motion:matched": World("motion", 0.25, 5.0),
    "motion:as-wan": World("motion", 5.0, 5.0, 20),
}
"""Enlarged latents are as large as those of FLUX at 1024 x 1024, and nearly as large as those of Wan 2.1 at 480p."""


def enter(pipe: Any, world: World) -> Any:
    """Return a pipeline of a world, made of the components of a demo pipeline."""
    if world.model == "digits":
        return _digits(pipe, world)
    parts = dict(pipe.components)
    name = "shift" if "shift" in pipe.scheduler.config else "flow_shift"
    parts["scheduler"] = type(pipe.scheduler).from_config(pipe.scheduler.config, **{name: world.shift})
    sizes: dict[str, float] = {"guidance_scale": world.guidance}
    if world.times > 1:
        from padecast.zoo.enlarged import enlarge
        from padecast.zoo.scenes.appearance import SIZE

        parts |= {part: enlarge(parts[part], world.times) for part in ("transformer", "vae")}
        sizes |= {"height": SIZE * world.times, "width": SIZE * world.times}
    made = sized(type(pipe), __name__, **sizes)(**parts)
    if hasattr(pipe, "default_sample_size"):
        made.default_sample_size = pipe.default_sample_size * world.times
    return made


def _digits(pipe: Any, world: World) -> Any:
    from padecast.zoo.digits import DigitsPipeline
    from padecast.zoo.enlarged import EnlargedDigitsPipeline, enlarge

    kind = DigitsPipeline if world.times == 1 else EnlargedDigitsPipeline
    transformer = pipe.transformer if world.times == 1 else enlarge(pipe.transformer, world.times)
    return sized(kind, __name__, guidance_scale=world.guidance, shift=world.shift)(transformer, pipe.scheduler)
