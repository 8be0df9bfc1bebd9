"""The PhoenixSpec family of protocol buffer messages."""
