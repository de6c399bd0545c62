"""Instructions in words: Unnatural Instructions, FLAN, Alpaca."""
