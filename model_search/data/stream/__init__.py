"""Streams: opening what a provider's `input_fn` yields."""
