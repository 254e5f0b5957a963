"""Models run by a small C++ program: its sources, how it is built, and the worker's side of what it answers."""
