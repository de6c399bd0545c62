"""GrIT: captions whose phrases are tied to boxes in web pictures."""
