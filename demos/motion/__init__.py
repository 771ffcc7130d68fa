"""The motion model, from rendered clips to a folder for ``WanPipeline``.

========== =======================================================================
course     where the object is in every frame, and all else that a caption leaves to chance
render     clips
tokens     the tokenizer of the grammar's words
build      the untrained components, and the folder that training writes
recipe     all that decides the outcome of a training
clips      what training sees: pixels, latents, and what is true of every token
stages     what the three stages learn: autoencoder, words, flow
train      ``python -m demos.motion.train --out runs/motion``
check      ``python -m demos.motion.check runs/motion/pipeline``: captions obeyed
========== =======================================================================

What captions say, how it looks and how it is read again is in ``padecast.zoo.motion``.
"""
