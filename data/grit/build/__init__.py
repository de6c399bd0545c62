"""Builds GrIT: pictures with captions to phrases with boxes."""
