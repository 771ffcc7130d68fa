"""One run, without a model: what was decided, remembered and forecast."""
