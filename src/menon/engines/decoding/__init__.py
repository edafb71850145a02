"""The built-in sampler: requests, slots, blocks of keys and values, tokens."""
