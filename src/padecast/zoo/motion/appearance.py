"""How what a caption says looks, as clips are filmed for training and read for scores: frames, sizes, movements."""

from __future__ import annotations

from padecast.zoo.motion.grammar import COLOURS, GROUNDS
from padecast.zoo.scenes import grammar as scenes
from padecast.zoo.scenes.appearance import GROUND, PALETTE

FRAMES = 17
RADII = (7.5, 12.5)  # pixels, of small and large
TRAVEL = 22.0  # pixels from the first frame to the last
GROWTH = 0.3  # an object grows from 1 - GROWTH times its radius to 1 + GROWTH times
TURN = 1.3  # radians from the first frame to the last, clockwise
COLOUR = PALETTE[[scenes.COLOURS.index(name) for name in COLOURS]]
BEHIND = GROUND[[scenes.GROUNDS.index(name) for name in GROUNDS]]
