"""What the page asks for, a file for each view; each has `routes(runs)`."""
