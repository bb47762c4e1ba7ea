"""All compiled arithmetic: kernels that count every operation they perform.

Dimension alphabet, used in every docstring: V vocabulary, E embedding width, H hidden width, P projection width,
B tokens in a block, K columns of a matrix (its inner dimension), R rows of a matrix, S segments of the vocabulary, W
width of an attention head, N experts of which a token passes k. ``sections.py`` has an S of its own.

A kernel takes shapes and buffers from its caller, writes into buffers named in its docstring, allocates nothing,
prints nothing, raises nothing, and charges the meter through the cost law that stands beside it. Work is split between
threads by rows only; ``thread`` of ``threads`` says which share a call has.

This package imports numpy, numba, llvmlite and itself.
"""
