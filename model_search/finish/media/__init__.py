"""Pictures, sound and text read inside a SavedModel, as the search reads them."""
