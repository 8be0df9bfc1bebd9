"""Loading, checking and explaining the PhoenixSpec messages. Never imports TensorFlow."""
