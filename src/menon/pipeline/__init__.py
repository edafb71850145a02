"""Recipes of several stages: ordinary runs, and stages that write the text which later ones learn from."""
