"""The motion model: captions of one moving object to clips of 17 frames of 64 x 64 pixels, in a `WanPipeline`.

========== =======================================================================
grammar    what a clip may show, and its captions, drawn and read
course     where the object is in every frame, and all else that a caption leaves to chance
render     clips
tokens     the tokenizer of the grammar's words
build      the untrained components
pipeline   the folder that training writes, and how it is loaded
recipe     all that decides the outcome of a training
clips      what training sees: pixels, latents, and what is true of every token
stages     what the three stages learn: autoencoder, words, flow
train      `python -m padecast.zoo.motion.train --out runs/motion`
read       what a clip shows, from its geometry
check      `python -m padecast.zoo.motion.check runs/motion/pipeline`: captions obeyed
========== =======================================================================

The engine of the training is `padecast.zoo.training`.

For example::

    from padecast.zoo.motion.pipeline import load

    pipe = load("runs/motion/pipeline")
    size = {"height": 64, "width": 64, "num_frames": 17}
    pipe("a large red star moving left", generator=torch.manual_seed(0), **size).frames[0]
"""
