"""Train the scenes model: a FLUX transformer with autoencoder and text encoders, all tiny, from random weights::

    python -m demos.scenes.train --out runs/scenes
    python -m demos.scenes.train --out runs/scenes --resume
    python -m demos.scenes.train --out runs/scenes --stage guidance

Four stages follow one another: the autoencoder; what the text encoders know of captions; the flow, in which they
learn on; and the distillation of guidance. ``OUT/vae.safetensors``, ``text.safetensors``, ``flow.safetensors`` and
``guidance.safetensors`` hold all that a resumed run needs; ``OUT/pipeline`` is what ``FluxPipeline.from_pretrained``
loads, in float16.
"""

from __future__ import annotations

import torch

from demos.scenes.build import build, export
from demos.scenes.recipe import Recipe
from demos.scenes.stages import Autoencoder, Captions, Flow, Guidance, fix_scale
from demos.training import command
from demos.training.run import Trainee
from demos.training.stage import Stage

KINDS: dict[str, type[Stage[Recipe]]] = {kind.name: kind for kind in (Autoencoder, Captions, Flow, Guidance)}
SCENES = Trainee(
    KINDS,
    build=lambda recipe: build(recipe.seed, recipe.layers, recipe.heads),
    export=export,
    settle={"vae": fix_scale},
)


def main(argv: list[str] | None = None) -> None:
    """Command line: ``python -m demos.scenes.train --help``."""
    parser = command.parser("scenes", Recipe())
    parser.add_argument("--blocks", type=int, nargs=2, default=Recipe.layers, help="double and single blocks (2 4)")
    parser.add_argument("--heads", type=int, default=Recipe.heads, help="attention heads of 32 (%(default)s)")
    options = parser.parse_args(argv)
    names = ("minutes", "steps", "seed", "heads")
    recipe = Recipe(layers=tuple(options.blocks), **{name: getattr(options, name) for name in names})
    command.start(SCENES, recipe, options)


if __name__ == "__main__":
    torch.set_flush_denormal(True)  # an untrained block's gradients are denormal, and slow
    main()
