"""The scenes model: captions of one or two objects to pictures of 64 x 64 pixels, in a complete ``FluxPipeline``.

========== =======================================================================
pipeline   loads it from a folder
grammar    what a scene may hold, and its captions, drawn and read
appearance how what a caption says looks
shapes     outlines of the objects
read       what a picture shows, from its geometry
textures   which texture an object has
judge      whether a picture obeys its caption
watcher    says what every token shows; its features are those of FID-scenes
========== =======================================================================

``demos/scenes``, beside the package, trains it.

For example::

    from padecast.zoo.scenes.pipeline import load

    pipe = load("runs/scenes/pipeline")
    pipe("a large red circle left of a small blue square", generator=torch.manual_seed(0)).images[0]
"""
