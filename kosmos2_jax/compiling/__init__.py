"""The training step compiled for devices that are not here, and read."""
