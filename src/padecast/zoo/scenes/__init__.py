"""The scenes model: captions of one or two objects to pictures of 64 x 64 pixels, in a complete `FluxPipeline`.

========== =======================================================================
grammar    what a scene may hold, and its captions, drawn and read
shapes     outlines of the objects
layout     where objects go, and all else that a caption leaves to chance
render     pictures
tokens     tokenizers of the grammar's words
build      the untrained components
pipeline   the folder that training writes, and how it is loaded
recipe     all that decides the outcome of a training
stages     what the four stages learn: autoencoder, text encoders, flow, guidance
precise    what the transformer computes in float32, also where the rest is bfloat16
labels     what captions say and tokens show, asked of throwaway heads in training
gallery    pictures that are encoded once and used several times
train      `python -m padecast.zoo.scenes.train --out runs/scenes`
read       what a picture shows, from its geometry
watcher    says what every token shows; its features are those of FID-scenes
textures   which texture an object has
check      `python -m padecast.zoo.scenes.check runs/scenes/pipeline`: captions obeyed
========== =======================================================================

The engine of the training is `padecast.zoo.training`.

For example::

    from padecast.zoo.scenes.pipeline import load

    pipe = load("runs/scenes/pipeline")
    pipe("a large red circle left of a small blue square", generator=torch.manual_seed(0)).images[0]
"""
