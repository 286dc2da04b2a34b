"""Unsupervised learning and generative AI, every model trained from scratch."""

__version__ = "0.1.0"
