"""TFDS builder of COCO's captions in Karpathy's splits.

python -m data.coco_captions.coco_captions_builder \
  --captions dataset_coco.json --pictures train2014.zip val2014.zip \
  --data_dir DIR
"""

from data.building import builder as building
from data.building.karpathy_builder import KarpathyBuilder


class CocoCaptions(KarpathyBuilder):
  """Photographs of everyday scenes, five captions each."""

  NAME = "coco_captions"
  TITLE = "COCO captions"
  DESCRIPTION = "Photographs with five captions each (COCO)."
  CITATION = (
    "Chen et al., Microsoft COCO Captions, arXiv:1504.00325; splits: Karpathy"
    " and Fei-Fei, arXiv:1412.2306"
  )


if __name__ == "__main__":
  building.main(CocoCaptions)
