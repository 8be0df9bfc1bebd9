"""The report: one self-contained HTML file, without scripts or network access."""

from __future__ import annotations

import os
import pathlib
import re
from collections.abc import Mapping
from typing import Any

from model_search.errors import UserError
from model_search.metadata.filesystem import what_helps
from model_search.metadata.study_folder import new_file
from model_search.report.charts import outline
from model_search.report.facts import StudyFacts
from model_search.report.numbers import duration, figure, share
from model_search.report.sections import sections

REPORT = "report.html"
_START = 1024  # bytes, in which a page says that it is one
_UNSEEN = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]")


def write_report(facts: StudyFacts, path: str | os.PathLike[str]) -> pathlib.Path:
    """Writes the report atomically: the file is new, or as it was before.

    Args:
        facts: The data of the report.
        path: The file to make, in a folder that exists; in a folder, "report.html".

    Raises:
        UserError: if it cannot be written there.
    """
    target = pathlib.Path(path)
    if target.is_dir():
        target = target / REPORT
    _check_replaceable(target)
    return _written(render(facts), target)


def _check_replaceable(target: pathlib.Path) -> None:
    """Refuses to replace a file that is no page: the training data, say, or the study's database."""
    try:
        if not target.is_file() or target.stat().st_size == 0:
            return
        with target.open("rb") as file:
            start = file.read(_START)
    except OSError as error:
        raise UserError(f"the report cannot be written to {target}: {error.strerror or error}") from error
    if b"<html" not in start.lower():
        raise UserError(
            f"the report cannot be written to {target}: the file is there and is no HTML page; name another"
        )


def write_page(template: str, found: Mapping[str, Any], path: pathlib.Path) -> pathlib.Path:
    """Writes another page atomically.

    Args:
        template: Name of its template.
        found: What the template reads.
        path: The file to make, in a folder that exists.

    Raises:
        UserError: if it cannot be written there.
    """
    return _written(_rendered(template, found), path)


def _written(text: str, target: pathlib.Path) -> pathlib.Path:
    content = text.encode("utf-8")
    try:
        if target.exists() and not target.is_file():  # a device or a pipe is written to as it is
            target.write_bytes(content)
            return target
        with new_file(target.parent) as (file, rename):
            file.write(content)
            rename(target.name)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise UserError(f"the report cannot be written to {target}: {reason}; {what_helps(error)}") from error
    return target


def render(facts: StudyFacts) -> str:
    """The report as HTML. Whatever a study calls its data, blocks or itself is shown as text, never as markup."""
    return _rendered("report.html", sections(facts))


def _rendered(template: str, found: Mapping[str, Any]) -> str:
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("model_search.report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_shown,
    )
    environment.filters.update(figure=figure, share=share, duration=duration)
    environment.globals["outline"] = outline
    return environment.get_template(template).render(found)


def _shown(value: object) -> object:
    """Texts without characters that cannot be shown, or that reverse the text next to them."""
    return _UNSEEN.sub("\ufffd", value) if type(value) is str else value
