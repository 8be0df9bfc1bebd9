"""Contract tests for implementations of extension points. Needs pytest."""

import pytest

# Failed assertions of the contracts then show their values, as those of a test file do.
pytest.register_assert_rewrite(
    "model_search.testing.algorithm_contract",
    "model_search.testing.block_contract",
    "model_search.testing.sampler_contract",
)
