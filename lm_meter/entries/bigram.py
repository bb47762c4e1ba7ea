"""A foreign entry, to be copied: a bigram model that learns from the text as it is revealed.

    lm-meter eval --entry 'python3 bigram.py' --text book.txt

README.md beside this file is the protocol. NumPy is used for the distribution, nothing else is needed.
"""

import json
import sys

import numpy as np

PRIOR, BACKING = 0.1, 2.0  # weight of "any token", and of the unigram model in the bigram one


def main() -> None:
    """Answer the handshake, then each token with the distribution of the next one."""
    receive, send = sys.stdin.buffer, sys.stdout.buffer
    hello = json.loads(receive.readline())
    if hello["protocol"] != "lm-meter/entry/1":
        sys.exit(f"cannot speak {hello['protocol']}")
    size = hello["size"]
    claims = {"profile": "micronet-2019-06", "parameters": 0, "operations": 5 * size}
    answer = {"protocol": "lm-meter/entry/1", "values": "probabilities", "dtype": "float64", "claims": claims}
    send.write(json.dumps(answer).encode() + b"\n")
    send.flush()

    seen = np.zeros(size)  # how often each token has come
    after: dict[int, dict[int, int]] = {}  # of each token: how often which ones came after it
    before = None
    for line in receive:  # ends when the text does
        token = int(line)
        seen[token] += 1
        if before is not None:
            followers = after.setdefault(before, {})
            followers[token] = followers.get(token, 0) + 1
        before = token

        unigram = (seen + PRIOR) / (seen.sum() + PRIOR * size)
        followers = after.get(token, {})
        distribution = BACKING * unigram
        distribution[list(followers)] += list(followers.values())
        distribution /= BACKING + sum(followers.values())
        send.write(distribution.astype("<f8").tobytes())
        send.flush()  # without this, both sides wait for ever


if __name__ == "__main__":
    main()
