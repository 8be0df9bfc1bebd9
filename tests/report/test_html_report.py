"""What the report says, and that it says it safely, of any study, at any time."""

import dataclasses
import html.parser
import pathlib
import re
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from made_studies import BLOCKS, SPEC, Made, combined, make_final, make_plan, make_record, make_result

from model_search.errors import UserError
from model_search.metadata.final_models import FinalKind
from model_search.metadata.trial import DistillationPlan, StartKind, Trial, TrialKind, TrialState, WarmStart
from model_search.report.facts import StudyFacts
from model_search.report.html import render
from model_search.report.summaries import baseline, baseline_in_words
from model_search.search.history.history import History
from model_search.search.planning.planner import Planner, PlannerSettings
from model_search.search.predictor.recommend import recommend_for
from model_search.testing.pretended_studies import make_spec, run_study

VOID = {"meta", "rect", "path", "br"}
HOSTILE = "</style></title><script>alert('x')</script><img src=x onerror=alert(1)> \"'&{{ 7 * 7 }}{% raw %}"


class Page(html.parser.HTMLParser):
    """The page's text by tag; fails where it is not well formed, or could load or run anything."""

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.text, self.links, self.ids, self.style = [], [], [], [], [], ""
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        values = dict(attrs)
        for name, value in attrs:
            assert not name.startswith("on") and name != "src" and "url(" not in value
        if "href" in values:
            self.links.append(values["href"])
        if "id" in values:
            self.ids.append(values["id"])
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)

    def handle_endtag(self, tag):
        if tag not in VOID:
            assert self.open.pop() == tag
        if tag in ("td", "th", "dt", "dd", "li", "p", "div"):
            self.text.append(" ")

    def handle_data(self, data):
        if "style" in self.open:
            self.style += data
        else:
            self.text.append(data)

    @property
    def said(self):
        return " ".join("".join(self.text).split())


def page_of(made, path=None):
    page = Page(made.study.report(path).read_text(encoding="utf-8"))
    assert "script" not in page.tags and "img" not in page.tags and "link" not in page.tags
    assert all(link[0] == "#" and link[1:] in page.ids for link in page.links)
    assert "url(" not in page.style and "@import" not in page.style
    return page


@pytest.fixture
def made(tmp_path):
    return Made(tmp_path)


def full(made):
    """Twelve searched trials of a line, one ensemble, one student, two kinds of failures, final models."""
    made.run(0.9)
    for number in range(2, 13):
        made.run(0.9 / number, parent=number - 1)
    made.run(0.06, **combined(11, 12))
    distilled = {"kind": TrialKind.DISTILLATION, "teacher": (11, 12), "start": WarmStart(StartKind.COPY, (12,))}
    made.run(0.07, **distilled, distillation=DistillationPlan("mse_logits"))
    for step in (3, 40):
        made.fail(f"the loss is NaN at step {step}")
    made.fail("out of memory")
    made.finish(make_final(notes=("half of the rows were used",)))
    return made


def test_it_says_which_model_is_best_and_how_it_is_used(made):
    page = page_of(full(made))
    assert "final ensemble: 0.01" in page.said
    assert "The best single model is trial 13 with 0.06." in page.said
    assert f"study = model_search.load_study('{made.root}', 'adult')" in page.said
    assert f"model_search predict NEW.csv --model_dir={made.root} --experiment_name=adult" in page.said
    assert "changed the log loss from 0.4 to 0.3 and the calibration error from 0.12 to 0.05" in page.said
    assert "14 models trained of 20" not in page.said and "14 of 20 models trained, 3 failed." in page.said


def test_the_tables_have_every_model(made):
    page = page_of(full(made))
    for words in ("1 final ensemble 0.01 2,468", "13 ensemble 0.06 1,234 2.0 s trials 11, 12", "14 distillation 0.07"):
        assert words in page.said
    assert "2 75 % 0.2 0.3 1,234" in page.said  # a member
    assert "Cross-fitted gain over the best single model: 0.02 ± 0.01. Half of the rows were used." in page.said


def test_the_plot_has_every_trial_and_failed_ones_are_marked(made):
    text = full(made).study.report().read_text(encoding="utf-8")
    plot = text[text.index('<section id="trials"') : text.index('<section id="leaderboard"')]
    kinds = re.findall(r'class="mark ([a-z-]+)" d="[^"]+"><title>', plot)
    assert sorted(set(kinds)) == ["distillation", "ensemble", "failed", "final", "search"]
    assert [kinds.count(kind) for kind in ("search", "failed", "final")] == [12, 3, 1]
    assert "trial 15, failed: the loss is NaN at step 3" in plot
    for words in ("search (12)", "failed (3)", "best so far", "validation loss (lower is better", ">trial<"):
        assert words in plot
    assert 'class="line curve-4"' in text and 'class="line curve-5"' not in text


def test_failures_are_grouped_by_reason(made):
    page = page_of(full(made))
    assert "2 the loss is NaN at step 3 15, 16 1 out of memory 17" in page.said


def test_the_searched_space_is_shown(made):
    page = page_of(full(made))
    for words in ("ADAPTIVE_COORDINATE_DESCENT", "ab" * 32, "seed 7", "income, 2 classes: '<=50K', '>50K'",
                  "id: a different value in every row", "age: 3 values are missing", "tensorflow 2.21",
                  "train_steps 100", 'blocks_to_use: "IDENTITY"'):  # fmt: skip
        assert words in page.said


def test_the_time_is_shared_out(made):
    made.run(0.5)
    made.finish(make_final(seconds=2.0))
    page = page_of(made)
    assert "4.0 s of work in all" in page.said
    assert "training 1.5 s 38 %" in page.said
    assert "planning, and reading and storing files of trials 0.25 s 6.2 %" in page.said


def test_a_study_without_trials_is_reported(made):
    page = page_of(made)
    assert "There is no model yet." in page.said and "0 of 20 models trained." in page.said
    assert page.ids == ["searched"]


def test_a_study_in_which_everything_failed_is_reported(made):
    made.fail("out of memory")
    page = page_of(made)
    assert "There is no model yet." in page.said and page.ids == ["failures", "searched"]


def test_a_running_study_is_reported(made):
    made.run(0.5)
    made.start()
    stopped = made.start()
    made.store.claim("other", 10**6)
    made.store.release(stopped)
    assert "1 of 20 models trained, 2 running when this was written, 1 interrupted." in page_of(made).said
    made.run(0.25, trial_id=3)
    assert "trial 3: 0.25" in page_of(made).said


def test_a_regression_of_streams_is_reported(tmp_path):
    record = make_record(goal="maximize")
    record.data.pop("schema")
    record.data["task"] |= {"kind": "regression", "classes": [], "logits_dimension": 1}
    record.data["feature_shape"] = [28, 28, 1]
    made = Made(tmp_path, record)
    made.run(0.5)
    made.run(0.75)
    page = page_of(made)
    assert "trial 2: 0.75" in page.said and "higher is better" in page.said
    assert "study.predict(rows)" in page.said and "predict_proba" not in page.said and "NEW.csv" not in page.said
    assert "input features 28 x 28 x 1 a row, float32" in page.said


def test_an_ensemble_without_gain_is_not_the_best(made):
    made.run(0.5)
    made.run(0.4)
    made.finish(make_final(accepted=False), make_final(FinalKind.STUDENT, 0.9, members=(), plan=make_plan(3, parent=2)))
    page = page_of(made)
    assert "trial 2: 0.4" in page.said and "final ensemble (no gain)" in page.said


def test_random_trials_say_what_random_search_would_have_reached(made):
    for loss in (0.5, 0.4, 0.6):
        made.run(loss, random=True)
    page = page_of(made)
    assert "estimated from the 3 random trials of this study, without extrapolation" in page.said
    assert "it is a random search itself" in page.said
    made.run(0.41)
    page = page_of(made)
    assert "extrapolated from 3 trials to 4" in page.said and "lies in between" in page.said
    made.run(0.1)
    page = page_of(made)
    assert "extrapolated from 3 trials to 5" in page.said and "0.1, which is better than that" in page.said
    assert 'class="line expected"' in made.study.report().read_text(encoding="utf-8")


def test_without_random_trials_it_says_how_to_have_some(made):
    made.run(0.5, random=True)
    assert "one random trial only" in page_of(made).said and "random_baseline_share: 0.05" in page_of(made).said


def test_a_study_of_forty_models_by_the_default_search_says_it_unasked():
    planner = Planner(make_spec("UNKNOWN_SEARCH_TYPE"), PlannerSettings(1, 10, 8, "random", 40), "loss", "minimize")
    history = run_study(planner, 40, lambda plan: 1 / (1 + len(plan.architecture)))
    said = baseline_in_words(history, baseline(history))[0]
    assert "From the 3 random trials of this study: with a budget of 40 trials, random search would" in said


def test_short_trainings_count_for_less(made):
    made.run(0.5, random=True)
    made.run(0.4, random=True)
    for _ in range(4):
        made.run(0.9, steps=25, total_steps=100)
    page = page_of(made)
    assert "a budget of 3 trials trained in full (as much as the 6 trials here took)" in page.said
    assert "short training (4)" in page.said


def noisy(made, trials=40):
    """Towers of FULLY_CONNECTED are good, all others bad; one bad one was lucky. Returns its number."""
    rng = np.random.default_rng(0)
    for number in range(1, trials + 1):
        good = number % 3 == 0
        luck = -1.1 if number == 20 else 0.0
        architecture = (BLOCKS[0 if good else 1 + number % 2],) * (1 + number % 2)
        made.run((0.2 if good else 1.2) + luck + 0.05 * rng.random(), architecture=architecture)
    return 20


def test_the_recommended_trial_is_shown_where_it_is_another_one(made):
    lucky = noisy(made)
    study = made.study
    assert study.best_trial.id == lucky != study.recommended_trial.id
    page = page_of(made)
    assert f"one tower on the labels: trial {study.recommended_trial.id} (" in page.said
    assert f"although trial {lucky} has the better figure" in page.said


def test_what_was_trained_for_less_is_not_recommended(made):
    noisy(made, 30)
    made.run(0.01, architecture=BLOCKS[:1], steps=25, total_steps=100)
    assert made.study.best_trial.id == 31
    assert made.study.recommended_trial.id not in (20, 31)
    assert "although trial 20 has the better figure" in page_of(made).said


def test_of_short_trainings_alone_nothing_is_said_to_be_free_of_luck(made):
    for number in range(12):
        made.run(0.5 + number, steps=25, total_steps=100)
    assert made.study.recommended_trial.id == 1
    assert "ecommended" not in page_of(made).said


@pytest.mark.parametrize("spec", ["nonsense {", ""])
def test_with_a_specification_that_says_nothing_the_best_trial_is_recommended(tmp_path, spec):
    made = Made(tmp_path, make_record(spec=spec))
    lucky = noisy(made)
    assert made.study.recommended_trial.id == lucky
    assert page_of(made).said


def test_with_blocks_that_are_not_known_here_the_best_trial_is_recommended(tmp_path):
    made = Made(tmp_path, make_record(spec=SPEC.replace("DNN", "CNN")))
    for number in range(12):
        made.run(0.5 + number, architecture=("OF_SOMEBODY_ELSE",))
    assert made.study.recommended_trial.id == 1
    assert "OF_SOMEBODY_ELSE" in page_of(made).said


def test_few_trials_have_no_recommendation_but_the_best(made):
    made.run(0.5)
    assert made.study.recommended_trial.id == 1
    assert "ecommended" not in page_of(made).said


def test_hostile_names_are_text(tmp_path):
    made = Made(tmp_path, make_record(name=HOSTILE, label=HOSTILE))
    made.run(0.5, architecture=(HOSTILE,), hyperparameters={HOSTILE: HOSTILE})
    made.fail(HOSTILE)
    page = page_of(made)
    assert page.said.count("<script>alert('x')</script>") >= 6
    assert page.said.count("{{ 7 * 7 }}{% raw %}") >= 6


@pytest.mark.parametrize("unseen", ["\u202e", "\u2066", "\x1b", "\x7f", "\x9b"])
def test_characters_that_reverse_or_control_a_text_are_not_shown(tmp_path, unseen):
    made = Made(tmp_path, make_record(name=f"gnp{unseen}.exe", label=f"a{unseen}b"))
    made.fail(f"no{unseen}luck")
    page = made.study.report().read_text(encoding="utf-8")
    assert unseen not in page
    assert "gnp\ufffd.exe" in page and "a\ufffdb" in page and "no\ufffdluck" in page


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(name=st.text(max_size=30), other=st.text(), number=st.floats(allow_nan=False, allow_infinity=False))
def test_any_name_makes_a_sound_page(tmp_path_factory, name, other, number):
    made = Made(tmp_path_factory.mktemp("any"), make_record(name=name, label=other))
    made.run(0.5, architecture=(other or "x",), hyperparameters={other: other}, result=make_result(number))
    made.run(0.5)
    made.fail(other)
    assert "loss" in page_of(made).said


def test_it_is_written_where_it_is_asked_for(made, tmp_path, monkeypatch):
    made.run(0.5)
    assert made.study.report() == tmp_path / "adult" / "report.html"
    (tmp_path / "folder").mkdir()
    assert made.study.report(tmp_path / "folder") == tmp_path / "folder" / "report.html"
    monkeypatch.chdir(tmp_path)
    assert made.study.report("mine.htm") == pathlib.Path("mine.htm")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["adult", "folder", "mine.htm"]


def test_where_it_cannot_be_written_nothing_is_changed(made, tmp_path, monkeypatch):
    made.run(0.5)
    with pytest.raises(UserError, match=r"cannot be written to .*nowhere.*in a folder that exists"):
        made.study.report(tmp_path / "nowhere" / "report.html")
    target = made.study.report()
    before = target.read_bytes()

    def no_room(file):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", no_room)
    with pytest.raises(UserError, match="No space left"):
        made.study.report()
    assert target.read_bytes() == before
    assert [path.name for path in target.parent.iterdir() if "part" in path.name] == []


def test_a_thousand_trials_make_a_small_page():
    rng, history, record = np.random.default_rng(0), History("loss", "minimize"), make_record()
    for number in range(1, 1001):
        plan = make_plan(number, parent=number - 1 or None, random=number % 20 == 0)
        trial = Trial(number, TrialState.COMPLETED, 1, number, "w", plan, make_result(float(rng.random())))
        if number % 50 == 0:
            reason = "the loss is NaN at step 7; " + "a long explanation " * 20
            trial = dataclasses.replace(trial, state=TrialState.FAILED, result=None, reason=reason)
        history.update([trial])
    best, recommended = history.best(1)[0], recommend_for(record, history)
    text = render(StudyFacts(record, history, (make_final(),), best, recommended, None, "runs", "now"))
    assert len(text.encode()) < 1_000_000
    page = Page(text)
    assert page.said.count("1,234") <= 60 and "931 more; study.leaderboard() has them all." in page.said
    assert text.count('<path class="mark search"') > 800


def test_neither_the_report_nor_the_recommendation_needs_tensorflow(made):
    noisy(made)
    made.finish(make_final())
    made.store.close()
    code = f"""
import sys
from model_search import load_study
study = load_study({str(made.root)!r}, "adult")
study.report(), study.recommended_trial
print(*sys.modules)
"""
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert "jinja2" in loaded and not {"tensorflow", "keras"} & set(loaded)
