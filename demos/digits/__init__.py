"""The digits model: a class-conditional transformer that draws handwritten digits in 16 x 16 pixels.

================ =================================================================
data             scans of digits, drawn smoothly and varied
flow             recipe, initial weights, noise levels and loss
train            ``python -m demos.digits.train --out runs/digits``
train_classifier ``python -m demos.digits.train_classifier``: the reader of digits
check            ``python -m demos.digits.check``: digits that are read as asked
================ =================================================================
"""
