"""The verifier for mathematics: from an answer's text to a verdict."""
