"""Experiments on runs that are done, or under way: read-only, and nothing imports them."""
