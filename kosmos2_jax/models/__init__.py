"""The maths: vision encoder, perceiver resampler, location-aware decoder."""
