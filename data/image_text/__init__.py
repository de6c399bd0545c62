"""Pictures with captions from the web: img2dataset shards of any data set."""
