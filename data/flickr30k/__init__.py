"""Flickr30k: pictures with five captions, in Karpathy's splits."""
