"""What `make audit` says of each answer of pip-audit, and that no other target asks."""

import importlib.util
import json
import pathlib
import re

import pytest

ROOT = pathlib.Path(__file__).parents[1]


@pytest.fixture(scope="module")
def verdict():
    spec = importlib.util.spec_from_file_location("audit", ROOT / ".ci" / "audit.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.verdict


def answer(*packages):
    return json.dumps({"dependencies": list(packages), "fixes": []})


CLEAN = {"name": "numpy", "version": "2.0", "vulns": []}
OURS = {"name": "model_search", "skip_reason": "not found on PyPI"}
BAD = {"name": "jinja2", "version": "3.1.0", "vulns": [{"id": "CVE-2024-1", "fix_versions": ["3.1.4"]}]}


def test_no_advisory(verdict):
    status, text = verdict(answer(CLEAN, OURS))
    assert status == 0
    assert text.splitlines()[0] == "1 packages audited, 0 advisories."
    assert "model_search" in text


@pytest.mark.parametrize("others", [(), (OURS,)])
def test_an_advisory(verdict, others):
    status, text = verdict(answer(CLEAN, BAD, *others))
    assert status == 1
    assert "jinja2 3.1.0: CVE-2024-1, fixed in 3.1.4" in text
    assert "2 packages audited, 1 advisories." in text


@pytest.mark.parametrize(
    ("output", "errors"),
    [("", "Failed to resolve 'pypi.org'"), ("not JSON", ""), ("[]", ""), (answer(OURS), ""), (answer(), "")],
)
def test_nothing_audited_is_no_success(verdict, output, errors):
    status, text = verdict(output, errors)
    assert status == 2
    assert text.startswith("Nothing was audited: ")
    assert errors in text
    assert "\n" not in text


def test_no_other_target_audits():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    (target,) = re.findall(r"^(\S+): .*\n(?:\t.*\n)*?\t.*audit\.py", makefile, re.MULTILINE)
    assert target == "audit"
    assert not re.search(r"^(?!\.PHONY)\S+:.*\baudit\b", makefile.replace("\naudit:", "\n"), re.MULTILINE)
