"""Blocks: `catalogue` knows them without building; the family modules build them with Keras."""
