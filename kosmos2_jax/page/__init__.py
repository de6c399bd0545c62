"""The page that shows a model: what it asks, draws and refuses."""
