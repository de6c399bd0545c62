"""LLaVA-Instruct: conversations about COCO pictures."""
