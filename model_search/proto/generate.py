"""Makes the `*_pb2.py` and `*_pb2.pyi` files from the `.proto` files beside this script.

    python -m pip install 'grpcio-tools==1.71.*'
    python model_search/proto/generate.py

The compiler is an old one on purpose: generated code runs with the protobuf runtime of its own version or any later
one, and the oldest runtime that a supported TensorFlow accepts is 5.29. The generated files are committed, so that
nobody needs a compiler to install the package.
"""

from __future__ import annotations

import pathlib
import subprocess
import sys

COMPILER = "libprotoc 29."
FOLDER = pathlib.Path(__file__).resolve().parent
ROOT = FOLDER.parents[1]


def main() -> int:
    """Generates every file; returns the exit status."""
    protoc = [sys.executable, "-m", "grpc_tools.protoc"]
    version = subprocess.run([*protoc, "--version"], capture_output=True, text=True, check=False)  # noqa: S603 - a developer's tool; nothing comes from a user
    if not version.stdout.startswith(COMPILER):
        found = version.stdout.strip() or version.stderr.strip()
        sys.stderr.write(f"Found {found!r}, expected {COMPILER}x; pip install 'grpcio-tools==1.71.*' first.\n")
        return 2
    sources = sorted(str(path.relative_to(ROOT)) for path in FOLDER.glob("*.proto"))
    flags = [f"--proto_path={ROOT}", f"--python_out={ROOT}", f"--pyi_out={ROOT}"]
    return subprocess.run([*protoc, *flags, *sources], cwd=ROOT, check=False).returncode  # noqa: S603 - the same


if __name__ == "__main__":
    sys.exit(main())
