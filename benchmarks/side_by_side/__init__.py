"""What the side-by-side measurements share. Files named `*_side.py` are run in a process, and an environment,
of their own."""
