"""The checkpoints that ship with lm-meter; README.md beside this file describes them and their format."""
