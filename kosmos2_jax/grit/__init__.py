"""What joins the builder of GrIT, which is data, with the model.

`data/grit/build` knows neither jax nor a model; the command, and what it makes
of its flags, are above both.
"""
