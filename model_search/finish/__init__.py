"""What comes out of a search: predictions and exported models. Importing it loads TensorFlow, quietly."""

from model_search.training.runtime import tensorflow

tensorflow()
