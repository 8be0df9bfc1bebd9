"""Text: splitting it into tokens, fitting a vocabulary, and files of texts."""
