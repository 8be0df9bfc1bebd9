"""The guards of the package, broken one by one: a test has to notice each."""

import dataclasses
import os

from mutations import guards, survivors


def test_the_table_of_guards_is_up_to_date():
    table = guards()
    assert [sentence for guard in table if (sentence := guard.missing())] == []
    assert len({guard.name for guard in table}) == len(table) >= 60
    assert all(guard.replacement != guard.text for guard in table)


def test_broken_guards_are_noticed(full, figure, tmp_path):
    chosen = [guard for guard in guards() if full or guard.quick]
    assert survivors(chosen, tmp_path, print, jobs=min(4, os.cpu_count() or 1)) == []
    figure(f"{len(chosen)} guards of the package broken in turn", f"{len(chosen)} noticed by a test")


def test_what_no_test_notices_is_reported(tmp_path):
    guard = next(guard for guard in guards() if guard.name == "no validation row is trained on")
    idle = dataclasses.replace(guard, name="idle", replacement=guard.text)
    broken = dataclasses.replace(guard, name="broken", replacement=")")  # no test can be run: that proves nothing
    found = survivors([idle, broken], tmp_path)
    assert [sentence.split(" (")[0] for sentence in found] == ["idle", "broken"]
    assert found[0].endswith("passes")
    assert "ends with status" in found[1]


def test_a_text_that_is_gone_is_reported():
    guard = guards()[0]
    gone = dataclasses.replace(guard, text="this is nowhere")
    assert "0 times, expected once; bring guards.toml up to date" in gone.missing()
    twice = dataclasses.replace(guard, text="weights")
    assert "expected once" in twice.missing()
    untested = dataclasses.replace(guard, test="tests/training/test_row_weights.py::test_of_nothing")
    assert "there is no test" in untested.missing()
