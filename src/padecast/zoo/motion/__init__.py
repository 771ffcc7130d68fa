"""The motion model: captions of one moving object to clips of 17 frames of 64 x 64 pixels, in a ``WanPipeline``.

========== =======================================================================
pipeline   loads it from a folder
grammar    what a clip may show, and its captions, drawn and read
appearance how what a caption says looks
read       what a clip shows, from its geometry
judge      whether a clip obeys its caption
========== =======================================================================

``demos/motion``, beside the package, trains it.

For example::

    from padecast.zoo.motion.pipeline import load

    pipe = load("runs/motion/pipeline")
    pipe("a large red star moving left", generator=torch.manual_seed(0)).frames[0]
"""
