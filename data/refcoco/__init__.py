"""RefCOCO, RefCOCO+, RefCOCOg: expressions that mean one thing in a picture."""
