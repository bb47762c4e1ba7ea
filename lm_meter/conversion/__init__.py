"""Checkpoints of other programs, read and written as lm-meter's own."""
