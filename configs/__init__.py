"""Runs: one file is one run, and its docstring has command, cost and score."""
