"""What a study's names, labels and messages hold is shown: never run, never obeyed, never calculated."""

import csv
import dataclasses
import html.parser
import io
import pathlib
import sys
import tempfile
import unicodedata

import numpy as np
import pandas as pd
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from made_studies import Made, make_final, make_record, make_result
from markdown_it import MarkdownIt
from rich.console import Console

from model_search.data.task import Task, TaskKind
from model_search.errors import DataError
from model_search.finish.large_files import answers_of, append_csv, escape_formulas
from model_search.finish.model_card import model_card
from model_search.printable import printable, printable_line
from model_search.report.html import render
from model_search.trainers.progress import ProgressDisplay

HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "</style></title><svg onload=alert(1)>",
    "{{ 7 * 7 }}{% raw %}",
    "&lt;script&gt;",
    "javascript:alert(1)",
    "[x](javascript:alert(1))",
    "![x](http://example.org/x.png)",
    "<http://example.org>",
    "`<b>`",
    "``` \n<script>",
    "~~~",
    "| a | b |\n|---|---|",
    "\\<b>\\`<i>",
    "\x1b[2J\x1b[31m",
    "\x1b]0;title\x07",
    "\x9b31m",
    "a\rb",
    "\u202ecod.exe",
    "[red]x[/red]",
    "[/]",
    ":warning:",
    "=cmd|' /C calc'!A0",
    "+1+1",
    "-1+1",
    "@SUM(1)",
    "\t=1",
]
WORDS = st.one_of(
    st.sampled_from(HOSTILE),
    st.lists(st.sampled_from([*HOSTILE, "<", ">", "`", "\\", "[", "]", "&", "\x1b[", "\n", "a"]), max_size=5).map(
        "".join
    ),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=25),
).map(lambda word: word or "plain")
ALLOWED_IN_CARD = {"h1", "h2", "p", "code", "pre", "table", "thead", "tbody", "tr", "th", "td", "br", "em", "strong"}
ALLOWED_IN_CARD |= {"s", "hr", "ul", "ol", "li", "blockquote"}  # of no consequence


class Tags(html.parser.HTMLParser):
    """The tags of a page with their attributes, but for the values of some that may hold text."""

    def __init__(self, page):
        super().__init__()
        self.found = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, tuple((name, "" if name == "aria-label" else value) for name, value in attrs)))


def controls(text):
    return {c for c in text if unicodedata.category(c) in ("Cc", "Cs") or c in "\u202e\u2066"} - {"\n"}


def record_with(words):
    name, label, one, other, note, reason = words
    record = make_record(name, label, spec=f"@{reason}")  # never read as a specification
    task = record.data["task"] | {"classes": [one, other + "2"]}
    data = record.data | {"task": task, "notes": [note], "schema": {"features": [{}], "dropped": {one: note}}}
    return dataclasses.replace(record, owner=one, data=data, environment={"tensorflow": note, "device": reason})


def facts_of(place, words):
    record = record_with(words)
    made = Made(pathlib.Path(place), record)
    made.run(0.5, architecture=("IDENTITY",), hyperparameters={words[4]: words[5], "learning_rate": 0.1})
    made.run(0.25, result=make_result(0.25, environment={"tensorflow": words[2]}))
    made.fail(words[5])
    made.finish(make_final(notes=(words[4],)))
    return made.study, dataclasses.replace(made.study._facts(), made_at="now", root="root")


def shown_of(place, words):
    """The report's tags, and what the terminal is sent."""
    study, facts = facts_of(place, words)
    stdout, stderr = sys.stdout, sys.stderr
    sys.stdout = sys.stderr = found = io.StringIO()
    try:
        study.print_leaderboard()
        with ProgressDisplay(words[0], 3) as display:
            display.note(words[4])
            display.warn(words[1])
            display.finish(study.trial(3), study.history)
    finally:
        sys.stdout, sys.stderr = stdout, stderr
    study.close()
    return Tags(render(facts)).found, found.getvalue()


def card_of(words):
    name, label, one, other, note, reason = words
    task = Task(TaskKind.CLASSIFICATION, label, 2, (one, other + "2"))
    about = {
        "task": task.to_json(),
        "columns": [{"column": one, "keras": other, "saved_model": "column", "kind": "number"}],
        "inputs": {},
        "file": {"delimiter": reason, "encoding": note, "names": None, "decimal_commas": [one]},
        "not_read": {other: note},
        "metadata": {
            "study": name,
            "trial": None,
            "kind": note,
            "architecture": [one, reason],
            "metrics": {other: 0.5},
            "notes": [note, reason],
            "environment": {"tensorflow": reason},
        },
    }
    streamed = about | {
        "columns": [],
        "inputs": {
            one: {
                "shape": [2],
                "dtype": "float32",
                "lengths": other,
                "columns": [note],
                "keras": note,
                "saved_model": "a",
            }
        },
    }
    return model_card(about, ("keras", "saved_model")), model_card(streamed, ("keras",))


def test_names_labels_and_messages_are_shown(count, figure):
    examples, tried = count(400, 25), set()
    with tempfile.TemporaryDirectory() as place:
        expected, _ = shown_of(place, ("plain",) * 6)

    @settings(max_examples=examples, deadline=None, suppress_health_check=list(HealthCheck), phases=[Phase.generate])
    @given(st.tuples(*[WORDS] * 6))
    def are_shown(words):
        tried.add(words)
        with tempfile.TemporaryDirectory() as place:
            tags, terminal = shown_of(place, words)
        assert tags == expected
        assert not controls(terminal)
        if "\t" not in words[4]:  # Rich shows tabs as blanks
            assert printable(words[4]) in terminal  # and takes nothing for its markup
        assert not controls(str(DataError(words[1]))) - {"\t"}
        for card in card_of(words):
            assert not controls(card)
            for tag, attributes in Tags(MarkdownIt("commonmark").enable(["table", "strikethrough"]).render(card)).found:
                assert tag in ALLOWED_IN_CARD, (tag, card)
                assert all(name in ("class", "style") for name, _ in attributes)

    are_shown()
    figure(
        f"hostile names, labels, notes and reasons, {len(tried)} tried",
        "report and model card have the same tags as with plain words, no control character reaches a terminal",
    )


def test_cells_of_predictions_are_no_formulas(count, figure):
    examples, tried = count(1000, 50), set()

    @settings(max_examples=examples, deadline=None)
    @given(st.lists(WORDS, min_size=2, max_size=4, unique=True))
    def are_no_formulas(labels):
        tried.update(labels)
        task = Task(TaskKind.CLASSIFICATION, "y", len(labels), tuple(labels))
        answers = answers_of(np.eye(len(labels), dtype=np.float32), {task.label: task}, [1.0])
        file = io.StringIO(newline="")
        append_csv([escape_formulas(answers)], file)
        file.seek(0)
        header, *rows = csv.reader(file, strict=True)
        assert [len(row) for row in rows] == [len(header)] * len(labels)
        for label, cell in zip(labels, answers["prediction"], strict=True):
            assert label == cell  # without being asked, nothing is changed
        for cell in (*header, *(row[0] for row in rows)):
            assert not cell.startswith(("=", "+", "-", "@", "\t", "\r"))

    are_no_formulas()
    figure(f"labels that spreadsheets calculate, {len(tried)} tried", "none begins a cell where escape_formulas is set")


def test_a_leaderboard_on_a_terminal_holds_no_markup_of_others():
    from model_search.report.leaderboard import leaderboard_table

    frame = pd.DataFrame({"rank": [1], "kind": ["[bold]k[/bold]"], "blocks": ["\x1b[2J[link=http://x]b[/link]"]})
    file = io.StringIO()
    Console(file=file, force_terminal=True, width=200).print(leaderboard_table(frame, "[blink]t[/blink]\x1b[2J", 5))
    for shown in ("[bold]k[/bold]", "\\x1b[2J[link=http://x]b[/link]", "[blink]t[/blink]\\x1b[2J"):
        assert printable_line(shown) in file.getvalue()
    assert "\x1b[2J" not in file.getvalue()
