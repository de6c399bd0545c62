"""Flickr30k Entities: captions whose phrases are tied to boxes by hand."""
