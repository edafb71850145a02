"""Studies of runs that are done or running. They only read, and the library does not import them."""
