"""The report of a run: from its folder to numbers, charts and a self-contained HTML page."""
