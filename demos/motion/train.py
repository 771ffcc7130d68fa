"""Train the motion model: a Wan transformer with autoencoder and text encoder, all tiny, from random weights::

    python -m demos.motion.train --out runs/motion
    python -m demos.motion.train --out runs/motion --resume
    python -m demos.motion.train --out runs/motion --stage flow

Three stages follow one another: the autoencoder; the text encoder alone; and the flow, together with the text encoder.
``OUT/vae.safetensors``, ``text.safetensors`` and ``flow.safetensors`` hold all that a resumed run needs;
``OUT/pipeline`` is what ``WanPipeline.from_pretrained`` loads, in float16.
"""

from __future__ import annotations

import torch

from demos.motion.build import build, export
from demos.motion.clips import fix_scale
from demos.motion.recipe import Recipe
from demos.motion.stages import Autoencoder, Flow, Words
from demos.training import command
from demos.training.run import Trainee
from demos.training.stage import Stage

KINDS: dict[str, type[Stage[Recipe]]] = {kind.name: kind for kind in (Autoencoder, Words, Flow)}
MOTION = Trainee(
    KINDS,
    build=lambda recipe: build(recipe.seed, recipe.layers, recipe.heads),
    export=export,
    settle={"vae": fix_scale},
)


def main(argv: list[str] | None = None) -> None:
    """Command line: ``python -m demos.motion.train --help``."""
    parser = command.parser("motion", Recipe())
    parser.add_argument("--layers", type=int, default=Recipe.layers, help="blocks of the transformer (%(default)s)")
    parser.add_argument("--heads", type=int, default=Recipe.heads, help="attention heads of 32 (%(default)s)")
    options = parser.parse_args(argv)
    names = ("minutes", "steps", "seed", "layers", "heads")
    recipe = Recipe(**{name: getattr(options, name) for name in names})
    command.start(MOTION, recipe, options)


if __name__ == "__main__":
    torch.set_flush_denormal(True)  # an untrained block's gradients are denormal, and slow
    main()
