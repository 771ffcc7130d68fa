"""The scenes model, from rendered pictures to a folder for ``FluxPipeline``.

============= ====================================================================
layout        where objects go, and all else that a caption leaves to chance
render        pictures
tokens        tokenizers of the grammar's words
build         the untrained components, and the folder that training writes
recipe        all that decides the outcome of a training
stages        what the four stages learn: autoencoder, text encoders, flow, guidance
precise       what the transformer computes in float32, also where the rest is bfloat16
labels        what captions say and tokens show, asked of throwaway heads in training
gallery       pictures that are encoded once and used several times
train         ``python -m demos.scenes.train --out runs/scenes``
train_watcher ``python -m demos.scenes.train_watcher``: the network of FID-scenes
check         ``python -m demos.scenes.check runs/scenes/pipeline``: captions obeyed
============= ====================================================================

What captions say, how it looks and how it is read again is in ``padecast.zoo.scenes``.
"""
