"""The engine that trains the demo models: stages one after the other, each stopped and continued exactly.

========== =======================================================================
recipe     what every recipe has: time, learning rates, average
stage      one stage: its steps, weight average and state
run        stages run to their end, with checkpoints, each building on those before it
command    the options that the trainings' command lines share
reader     networks that judge: their training, and their weights as a file
muon       the optimizer of matrices
average    how the weight average follows the weights
precision  whether bfloat16 is worth it on a processor, and what stays in float32 there
state      the state of a training as a file
folder     the pipeline as a folder, in float16
========== =======================================================================

A model brings its own losses (subclasses of ``Stage``), its recipe (a subclass of ``Recipe``), and a ``Trainee``, which
says how its components begin and how they are written.
"""
