"""TFDS builder of Flickr30k's captions in Karpathy's splits.

python -m data.flickr30k.flickr30k_builder --captions dataset_flickr30k.json \
  --pictures flickr30k-images --data_dir DIR
"""

from data.building import builder as building
from data.building.karpathy_builder import KarpathyBuilder


class Flickr30k(KarpathyBuilder):
  """Photographs of people and what they do, five captions each."""

  NAME = "flickr30k"
  TITLE = "Flickr30k"
  DESCRIPTION = "Photographs with five captions each (Flickr30k)."
  CITATION = (
    "Young et al., From image descriptions to visual denotations, TACL 2014;"
    " splits: Karpathy and Fei-Fei, arXiv:1412.2306"
  )


if __name__ == "__main__":
  building.main(Flickr30k)
