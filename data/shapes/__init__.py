"""Scenes of coloured shapes that are generated, not downloaded."""
