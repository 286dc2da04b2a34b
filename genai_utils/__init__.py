"""Unsupervised learning and generative AI, every model trained from scratch."""

import os

__version__ = "0.2.0"

# OpenMP's threads wait for work by spinning. Where something else uses the cores too, that made a
# training run 35 times slower; a short spin costs nothing measurable on free cores. OpenMP reads
# this once, when torch is loaded, so it stands here, before any module of ours can import torch.
# What the user has set about waiting stays.
if "OMP_WAIT_POLICY" not in os.environ:
    os.environ.setdefault("GOMP_SPINCOUNT", "3000")
