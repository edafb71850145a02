"""A run on one page: from its folder to numbers, charts and a self-contained HTML file."""
