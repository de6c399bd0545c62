"""VQAv2: questions about COCO pictures, each with ten answers."""
