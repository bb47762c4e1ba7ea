"""A handler of signals that ends the process at once; it imports next to nothing, so that it is there early."""

import os


def end_at_once(number: int, frame: object) -> None:
    """For moments at which there is nothing to be kept."""
    os.write(2, b"lm-meter: interrupted, no result\n")
    os._exit(128 + number)
