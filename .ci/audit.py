"""`make audit`: the installed packages for which an advisory is known.

Exits with 0 if no advisory is known, 1 if one is, 2 if nothing could be looked up. It is no part of `make test`: an
advisory that is published tomorrow does not fail a change that has nothing to do with it.
"""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys

TOOL = "pip-audit>=2.7"
CLEAN, FOUND, UNKNOWN = 0, 1, 2
_PIP = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
_AUDIT = [sys.executable, "-m", "pip_audit", "--local", "--progress-spinner=off", "--format=json"]


def verdict(output: str, errors: str = "") -> tuple[int, str]:
    """The exit status and the text for what pip-audit has written.

    Args:
        output: Its JSON; not JSON, or empty, where it could not ask.
        errors: What it has written to stderr.
    """
    try:
        packages = json.loads(output)["dependencies"]
    except (ValueError, KeyError, TypeError):
        why = (errors.strip().splitlines() or ["it wrote nothing"])[-1]
        return UNKNOWN, f"Nothing was audited: no database of advisories can be reached ({why[:200]})."
    audited = [package for package in packages if "skip_reason" not in package]
    left_out = sorted(package["name"] for package in packages if "skip_reason" in package)
    if not audited:
        return UNKNOWN, (
            f"Nothing was audited: the package index that pip uses knows no advisories for any of the {len(packages)} "
            "installed packages. Run `make audit` where pypi.org can be reached."
        )
    known = [
        f"{package['name']} {package['version']}: {advisory['id']}, fixed in "
        + (", ".join(advisory.get("fix_versions", ())) or "none yet")
        for package in audited
        for advisory in package["vulns"]
    ]
    lines = [*known, f"{len(audited)} packages audited, {len(known)} advisories."]
    if left_out:
        lines.append(f"Not on the index, and not audited: {', '.join(left_out)}.")
    return (FOUND if known else CLEAN), "\n".join(lines)


def main() -> int:
    """Runs pip-audit, and installs it first where it is missing."""
    if importlib.util.find_spec("pip_audit") is None:
        installed = subprocess.run([*_PIP, TOOL], capture_output=True, text=True, check=False)  # noqa: S603 - no shell
        if installed.returncode:
            print("Nothing was audited: pip-audit is not installed, and pip cannot install it here.")
            return UNKNOWN
    done = subprocess.run(_AUDIT, capture_output=True, text=True, check=False)  # noqa: S603 - no shell
    status, text = verdict(done.stdout, done.stderr)
    print(text)
    return status


if __name__ == "__main__":
    sys.exit(main())
