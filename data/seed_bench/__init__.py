"""SEED-Bench: questions about pictures, each with four choices."""
