"""Command lines; each module is run with `python -m kosmos2_jax.tools.NAME`."""
