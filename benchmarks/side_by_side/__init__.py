"""The parts that the side-by-side measurements share. Each file named `*_side.py` runs in its own process and
environment."""
