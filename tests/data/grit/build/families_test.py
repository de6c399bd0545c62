"""What kinds of detectors are asked; their answers are in detectors_test."""

from data.grit.build import families


def test_pictures_have_as_many_texts():
  """Another text in place of the missing ones could draw queries to it."""
  texts = [["a dog", "a hat"], ["a cat"], ["a", "b", "c"]]
  assert families._even(texts) == [
    *("a dog", "a hat", "a hat"),
    *("a cat", "a cat", "a cat"),
    *("a", "b", "c"),
  ]


def test_a_wide_picture_is_padded_below():
  """OWLv2 alone: boxes are parts of a square."""
  scales = {
    name: family(None, None, "max").scale_xy(60, 40)
    for name, family in families.FAMILIES.items()
  }
  assert scales.pop("owlv2") == (1.0, 1.5)
  assert set(scales.values()) == {(1.0, 1.0)}
