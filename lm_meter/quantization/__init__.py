"""Making checkpoints smaller: weights rounded to narrower formats, put into code books, pruned."""
