"""Text without pictures: JSONL, plain text, any text data set of TFDS."""
