"""How the demo models that ship with padecast were trained, and how well they draw; beside the package, in no wheel.

========== =======================================================================
training   the engine: stages, each stopped and continued exactly
digits     ``python -m demos.digits.train``, ``.train_classifier`` and ``.check``
scenes     ``python -m demos.scenes.train``, ``.train_watcher`` and ``.check``
motion     ``python -m demos.motion.train`` and ``.check``
words      tokenizers of single words, and their encoder
weights    those that begin as zero, and those that stay zero
batch      what all pictures and clips leave to chance alike
obedience  how often captions are obeyed, counted and shown
closeup    where a close-up is cut
pictures   sheets of what is drawn, as files
========== =======================================================================

Commands run in the root of the repository. ``padecast.zoo`` loads, draws and scores what they made, and imports nothing
from here.
"""
