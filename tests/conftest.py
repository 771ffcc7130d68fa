"""What every test starts from: one thread, and property tests that draw the same examples every time."""

from __future__ import annotations

import torch
from hypothesis import settings

torch.set_num_threads(1)

settings.register_profile("padecast", deadline=None, derandomize=True, database=None, max_examples=10)
settings.load_profile("padecast")
