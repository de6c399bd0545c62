"""What builders share: reading foreign files safely, counting what is dropped.

`drops` counts, `pictures` checks and stores, `boxes` checks boxes, `archive`
finds the members of tar files, `builder` writes what readers give.
"""
