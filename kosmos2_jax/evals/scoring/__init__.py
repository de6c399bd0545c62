"""Scorers: arithmetic on predictions and annotations, nothing else."""
