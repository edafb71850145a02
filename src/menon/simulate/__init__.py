"""A run on a simulated clock, to plan sizes: the real loop and sources, scripted samplers and learners."""
