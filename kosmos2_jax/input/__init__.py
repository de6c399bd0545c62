"""From prepared examples to batches, as a pure function of (seed, step).

read (sources) > look at the picture (geometry, image_ops) > write the text
(recipes, text_ops) > rows of one length (packing, rows) > batches (feed,
pipeline). `schedule` and `shuffling` say which example is where.
"""
