"""Blocks for tables; their ids are from 200 to 299. Never imports TensorFlow."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from model_search.blocks.catalogue_records import Family
from model_search.problem import VECTOR_RANK

_TABULAR = "model_search.blocks.tabular"
_ENCODINGS, _BODIES = f"{_TABULAR}.encodings", f"{_TABULAR}.bodies"
_VECTORS: Mapping[str, Any] = {"reads_rank": VECTOR_RANK, "writes_rank": VECTOR_RANK}

TABULAR = (
    Family("FeatureScalingBlock", {"FEATURE_SCALING": (200, {})}, module=_ENCODINGS, **_VECTORS),
    Family("QuantileBlock", {"QUANTILES_48": (201, {"bins": 48})}, module=_ENCODINGS, **_VECTORS),
    Family(
        "PiecewiseLinearBlock",
        {
            "PLE_16": (202, {"bins": 16}),
            "PLE_32": (203, {"bins": 32}),
            "PLE_48": (204, {"bins": 48}),
            "PLE_BINS_16": (205, {"bins": 16, "width": 0}),
            "PLE_BINS_48": (206, {"bins": 48, "width": 0}),
            "PLE_16_EMBEDDING": (207, {"bins": 16, "embeds": True}),
            "PLE_32_EMBEDDING": (208, {"bins": 32, "embeds": True}),
        },
        module=_ENCODINGS,
        **_VECTORS,
    ),
    Family(
        "PeriodicBlock",
        {
            "PBLD_16_4": (209, {"frequencies": 16, "width": 4}),
            "PBLD_32_8": (210, {"frequencies": 32, "width": 8}),
        },
        module=_ENCODINGS,
        **_VECTORS,
    ),
    Family("CategoryEmbeddingBlock", {"CATEGORY_EMBEDDING": (211, {})}, module=_ENCODINGS, **_VECTORS),
    Family(
        "MlpBlock",
        {f"MLP_{units}": (number, {"units": units}) for number, units in enumerate((64, 128, 256, 512), 220)},
        module=_BODIES,
        can_be_identity=True,
        writes_rank=VECTOR_RANK,
    ),
    Family(
        "GatedBlock",
        {f"GLU_{units}": (number, {"units": units}) for number, units in enumerate((64, 128, 256), 224)},
        module=_BODIES,
        can_be_identity=True,
        writes_rank=VECTOR_RANK,
    ),
    Family(
        "TabularResnetBlock",
        {f"TABULAR_RESNET_{units}": (number, {"units": units}) for number, units in enumerate((64, 128, 256), 227)},
        module=_BODIES,
        can_be_identity=True,
        writes_rank=VECTOR_RANK,
    ),
    Family(
        "TabMBlock",
        {
            f"TABM_8_{units}_3": (number, {"members": 8, "units": units, "depth": 3})
            for number, units in enumerate((64, 128, 256), 230)
        },
        module=_BODIES,
        writes_rank=VECTOR_RANK,
    ),
    Family(
        "FeatureAttentionBlock",
        {
            "FEATURE_ATTENTION_16": (233, {"width": 16, "heads": 4}),
            "FEATURE_ATTENTION_32": (234, {"width": 32, "heads": 4}),
        },
        module=f"{_TABULAR}.attention",
        **_VECTORS,
    ),
)
