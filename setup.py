"""Packaging of Model Search; tool settings live in pyproject.toml."""

import pathlib
import re

from setuptools import find_packages, setup

HERE = pathlib.Path(__file__).parent
VERSION = re.search(r'__version__ = "([^"]+)"', (HERE / "model_search" / "__init__.py").read_text()).group(1)

setup(
    name="model_search",
    version=VERSION,
    description="Finds the neural network for your data.",
    long_description=(HERE / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    license_files=["LICENSE"],
    python_requires=">=3.11",
    packages=[*find_packages(include=["model_search", "model_search.*"]), "model_search.specs"],
    package_dir={"model_search.specs": "specs"},
    package_data={
        "model_search.specs": ["*.pbtxt"],
        "model_search": ["py.typed", "**/*.proto"],
        "model_search.report": ["templates/*"],
    },
    install_requires=[
        "absl-py>=2",
        "cloudpickle>=3",
        "jinja2>=3.1",
        "keras>=3.8",
        "numpy>=1.26",
        "optuna>=4",
        "pandas>=2.2",
        "pillow>=10",
        "protobuf>=5.29",
        "psutil>=5.9",
        "rich>=13",
        "scikit-learn>=1.4",
        "scipy>=1.11",
        "sqlite-utils>=3.38",
        "tensorflow>=2.19,<3",
        "threadpoolctl>=3",
    ],
    extras_require={
        "dev": [
            "model_search[ray]",
            "hypothesis>=6",
            "mypy>=1.10",
            "pytest>=8",
            "pytest-xdist>=3.6",
            "ruff>=0.6",
            "setuptools>=77",
            "wheel",
        ],
        "ray": ["fsspec>=2024.2", "ray>=2.40"],
        "bench": ["keras-tuner>=1.4", "matplotlib>=3.8", "tensorboard"],
    },
    entry_points={"console_scripts": ["model_search = model_search.__main__:run"]},
)
