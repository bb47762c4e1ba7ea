"""The sample text that ships with lm-meter: original prose in WikiText's token style."""
