"""What is known of a study: trials, their states, and the store that keeps them. Never imports TensorFlow."""
