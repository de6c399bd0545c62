"""From logits to text with boxes: prefill, decode loop, sampling."""
