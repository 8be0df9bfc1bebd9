"""Blocks that read maps, [height, width, channels]."""
