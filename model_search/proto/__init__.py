"""The PhoenixSpec family of protocol buffer messages."""

import warnings

# protobuf 6 warns whenever the code was generated for 5; that is on purpose (see `generate.py`), and tests hold it.
warnings.filterwarnings(
    "ignore", message=r"Protobuf gencode version 5\..* at model_search/proto/", category=UserWarning
)
