"""COCO captions: pictures with five captions, in Karpathy's splits."""
