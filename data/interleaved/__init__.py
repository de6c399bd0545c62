"""Web pages of text with pictures in it: MMC4, OBELICS."""
