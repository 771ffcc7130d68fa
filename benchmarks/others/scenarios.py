"""The kinds of run, and what the right answer is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import diffusers

from others.libraries import Library
from others.looking import Finding
from others.pipelines import (
    controlled,
    flux,
    image_to_image,
    wan,
    wan_heun,
)
from others.runs import (
    after_interruption,
    disabled,
    enabled_late,
    from_the_middle,
    in_all,
    mates,
    of_two_branches,
    plain,
    sharing,
)


@dataclass(frozen=True)
class Scenario:
    """A kind of run.

    Args:
        title: As in the table.
        right: What the right answer is.
        look: Runs it with a library.
    """

    title: str
    right: str
    look: Callable[[Library], Finding]


KIND = (
    "repeatable, uncached bit by bit with every step computed, the uncached outputs in a steady run, something skipped"
)

SHARED = (
    "the run's image as it is without the other pipeline; the other's as it is uncached, or as it is with the cache "
    "switched on for it alone (all of diffusers' caches are documented as the model's)"
)

SCENARIOS = {
    "plain": Scenario(
        "FLUX, text to image", "with every step computed the uncached image, and otherwise something skipped", plain
    ),
    "interrupted": Scenario(
        "Ctrl-C in a callback, then the next run",
        "the image of a fresh pipeline with the same cache, bit by bit, after whichever step it came",
        after_interruption,
    ),
    "interrupted, then larger": Scenario(
        "Ctrl-C, then another size",
        "as above, the next image larger",
        lambda one: after_interruption(one, size=24),
    ),
    "interrupted, then a batch": Scenario(
        "Ctrl-C, then a batch",
        "as above, the next run with two images",
        lambda library: after_interruption(library, count=2),
    ),
    "image to image": Scenario("FLUX image to image, strength 0.6, one branch", KIND, from_the_middle),
    "named branches": Scenario("FLUX, two branches, cache contexts", KIND, of_two_branches(flux)),
    "unnamed branches": Scenario(
        "FLUX image to image, two branches, no cache contexts", KIND, of_two_branches(image_to_image, strength=1.0)
    ),
    "Wan": Scenario("Wan, two branches, cache contexts", KIND, of_two_branches(wan)),
    "Heun": Scenario("Wan, Heun's method, one branch", KIND, lambda library: in_all(library, wan_heun)),
    "shared transformer": Scenario(
        "two FLUX pipelines share a transformer", SHARED, lambda one: sharing(one, diffusers.FluxPipeline)
    ),
    "shared, other class": Scenario(
        "FLUX and FLUX image to image share a transformer",
        SHARED,
        lambda one: sharing(one, diffusers.FluxImg2ImgPipeline),
    ),
    "enabled late": Scenario(
        "switched on after a run", "the image of a pipeline that had it on from the start", enabled_late
    ),
    "controls": Scenario("FLUX ControlNet", KIND, lambda library: in_all(library, controlled)),
    "disabled": Scenario(
        "switched off",
        "the image of before, bit by bit, and nothing added to, changed on or lost from modules, pipeline or classes",
        disabled,
    ),
    "batch mates": Scenario(
        "batch of two",
        "the sample as it is drawn alone, up to rounding; a rule that decides for the batch as a whole is by design",
        mates,
    ),
}

NEEDS = (
    "the error names the call it needs, which this pipeline does not make and its caller can make for one branch only"
)
RESETS = "its state is reset at the end of a run, which an interrupted run does not reach"
BATCHED = "keeps one history per attention, whichever branch runs"
FASTER = f"{BATCHED}; its documentation asks for branches that are concatenated to one batch, which these are not"
LEFT = "empty registries and a forward on the instance stay, which calls the class's own"
BATCH = "decides by a mean over the batch"
COUNTED = "counts calls, not places in the schedule"
AGAIN = "the run in the middle ends with a reset of the state that both share"
TWICE = "the stored residual holds the controls, and the model adds them again between the skipped blocks"
LATE = "expects to run before its timestep range begins, which is an option (-1, 681 by default)"

NOTES: dict[tuple[str, str], str] = {
    **{
        ("interrupted" + more, name): RESETS
        for more in ("", ", then larger", ", then a batch")
        for name in ("FirstBlockCache", "TaylorSeerCache", "MagCache", "FasterCache", "PyramidAttention")
    },
    **{
        (where, name): NEEDS
        for where in ("image to image", "unnamed branches", "controls", "shared, other class")
        for name in ("FirstBlockCache", "TaylorSeerCache")
    },
    **{(where, "PyramidAttention"): BATCHED for where in ("named branches", "unnamed branches", "Wan")},
    **{(where, "FasterCache"): FASTER for where in ("named branches", "unnamed branches", "Wan")},
    **{
        ("disabled", name): LEFT
        for name in ("FirstBlockCache", "TaylorSeerCache", "MagCache", "FasterCache", "PyramidAttention")
    },
    **{("batch mates", name): BATCH for name in ("padecast, adaptive", "FirstBlockCache", "cache-dit")},
    **{("Heun", name): COUNTED for name in ("TaylorSeerCache", "FasterCache", "PyramidAttention", "cache-dit")},
    **{
        ("shared transformer", name): AGAIN
        for name in ("FirstBlockCache", "TaylorSeerCache", "MagCache", "PyramidAttention", "cache-dit")
    },
    ("Heun", "MagCache"): f"{COUNTED}: begins anew in the middle, after num_inference_steps calls",
    (
        "unnamed branches",
        "MagCache",
    ): "takes both branches for one run where no context is open, and begins anew halfway",
    ("shared, other class", "MagCache"): AGAIN,
    ("shared, other class", "PyramidAttention"): AGAIN,
    ("controls", "FirstBlockCache"): f"{NEEDS}; with it, {TWICE}",
    ("controls", "MagCache"): TWICE,
    ("image to image", "FasterCache"): LATE,
    ("shared transformer", "FasterCache"): f"{AGAIN}; it then {LATE}",
    ("shared, other class", "FasterCache"): LATE,
    ("Wan", "TaylorSeerCache"): "its default identifiers match attn, and Wan's are attn1 and attn2: nothing is said",
    ("named branches", "cache-dit"): "takes both branches for one run unless told; told, it tells them by turns",
    ("unnamed branches", "cache-dit"): "takes both branches for one run unless told; told, it tells them by turns",
    ("shared, other class", "cache-dit"): "the other class's call does not open the context in which the blocks cache",
    ("controls", "cache-dit"): "its forward calls all blocks as one, and adds only the first control, after the last "
    "block, with every step computed too",
    ("disabled", "cache-dit"): "its own forward of FLUX stays on the instance, and the order of the submodules changes",
}
