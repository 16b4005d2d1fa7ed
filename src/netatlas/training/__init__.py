"""Losses and loops: they know modules and batches, not architectures."""
