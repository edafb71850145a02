"""Is this the right answer? The verifier for mathematics, from text to a verdict."""
