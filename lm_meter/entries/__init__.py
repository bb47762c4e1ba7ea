"""The protocol of foreign entries (README.md) and an example of one, to be copied."""
