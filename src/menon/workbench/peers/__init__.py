"""Dumps and metrics that other libraries wrote, read for `menon import`.

Each file knows one format: it recognises a folder by what lies in it, and gives its steps, answers and
metrics as a `Peer`. Nothing that a dump holds is run.
"""
