"""Long searches and large files: what they take does not grow with them, or no more than is said."""

import json
import pathlib
import re
import subprocess
import sys

import numpy as np
import programs_sizes
import pytest

PROGRAM = pathlib.Path(programs_sizes.__file__)
MB = 2**20
# A search: what a trial may add once a search runs steadily, averaged.
MOST_RESIDENT = 0.5 * MB
MOST_DATABASE = 8 * 1024
MOST_LOG = 8 * 1024
STEADY = 0.25  # share of the trials after which the caches of TensorFlow and the allocator are full
# Reading a table: at most its features, so many times the file, and so much.
TIMES_THE_FILE, AT_MOST = 1.5, 150 * MB
MOST_GROWTH = 64 * MB  # of a prediction, from few rows to ten times as many
MOST_EVALUATED = 200  # bytes a row: labels, logits, and what metrics make of them


def run(role, **words):
    """What a process of its own finds, and its standard error."""
    done = subprocess.run(
        [sys.executable, str(PROGRAM), role, json.dumps(words)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1]), done.stderr


def slope(numbers, values):
    """What one more trial adds."""
    return float(np.polyfit(numbers, values, 1)[0])


@pytest.mark.parametrize(("workers", "where"), [(None, "one process"), (2, "two workers")])
def test_a_long_search_takes_no_more_in_the_end(workers, where, count, full, figure, tmp_path):
    trials = count(1000, 30 if workers is None else 16)
    found, said = run("trains", root=str(tmp_path), trials=trials, workers=workers, disk_limit=0.2)
    assert not re.search("retracing|Traceback", said), said[-3000:]
    logs = "".join(path.read_text() for path in tmp_path.rglob("*.log"))
    assert "retracing" not in logs
    trained = {pid: readings for pid, readings in found["processes"].items() if workers is None or pid != found["own"]}
    trained = {pid: readings for pid, readings in trained.items() if len(readings) >= trials // 2}
    assert len(trained) == (workers or 1)  # none was replaced
    growth, descriptors, threads = [], [], []
    for readings in found["processes"].values():
        late = readings[int(len(readings) * STEADY) :]
        descriptors.append((min(r[2] for r in late), max(r[2] for r in late)))
        threads.append((min(r[3] for r in late), max(r[3] for r in late)))
    for readings in trained.values():
        late = readings[int(len(readings) * STEADY) :]
        growth.append(slope([r[0] for r in late], [r[1] for r in late]))
    resident = max(readings[-1][1] for readings in trained.values())
    numbers, database, files, log = (np.array(column) for column in zip(*found["study"], strict=True))
    late = slice(int(trials * STEADY), None)
    a_trial, a_log = slope(numbers[late], database[late]), slope(numbers[late], log[late])
    figure(
        f"{trials:,} trials in {where}",
        f"{max(growth) / 1024:.0f} KB of memory a trial in the end, {resident / MB:.0f} MB in all; "
        f"{max(b for _, b in descriptors)} descriptors and {max(b for _, b in threads)} threads at most, "
        f"as after a quarter; database {a_trial / 1024:.1f} KB, log {a_log / 1024:.1f} KB a trial; "
        f"files {files.max() / 1e6:.0f} MB of the 200 MB allowed; no retracing",
    )
    assert all(most - least <= 4 for least, most in descriptors), found["processes"]
    assert all(most - least <= 4 for least, most in threads), found["processes"]
    assert a_trial <= MOST_DATABASE
    assert a_log <= MOST_LOG
    if full:
        assert max(growth) <= MOST_RESIDENT
        assert files.max() <= 200e6 + (workers or 1) * found["largest"]  # pruned once they are written


def test_a_large_file_is_read_in_bounded_memory(count, figure, tmp_path):
    rows = count(10_000_000, 150_000)
    path = tmp_path / "rows.csv"
    programs_sizes.write_rows(path, rows)
    found, _ = run("reads", path=str(path))
    size = path.stat().st_size
    assert found["rows"] == rows
    bound = found["features"] + TIMES_THE_FILE * size + AT_MOST
    figure(
        f"{rows:,} rows of CSV ({size / MB:.0f} MB)",
        f"read with {found['peak'] / MB:.0f} MB of memory at most; the features, {found['width']} a row, are "
        f"{found['features'] / MB:.0f} MB, whose pages of zeros take none",
    )
    assert found["peak"] <= bound


def test_a_thousand_columns_of_text(count, figure, tmp_path):
    rows = count(20_000, 300)
    path = tmp_path / "wide.csv"
    programs_sizes.write_wide(path, rows, 1000)
    found, _ = run("reads", path=str(path))
    size = path.stat().st_size
    figure(
        f"{rows:,} rows with a thousand columns of text ({size / MB:.0f} MB)",
        f"read with {found['peak'] / MB:.0f} MB of memory at most; the features, {found['width']:,} a row, are "
        f"{found['features'] / MB:.0f} MB, whose pages of zeros take none",
    )
    assert found["rows"] == rows
    assert found["width"] >= 10_000
    assert found["peak"] <= found["features"] + TIMES_THE_FILE * size + AT_MOST


def test_predictions_take_as_much_memory_for_many_times_as_many_rows(count, figure, tmp_path):
    sizes, paths = (count(200_000, 70_000), count(2_000_000, 210_000)), []
    for rows in sizes:
        paths.append(str(tmp_path / f"{rows}.csv"))
        programs_sizes.write_rows(paths[-1], rows, seed=1)
    programs_sizes.write_rows(tmp_path / "train.csv", 500)
    run("makes", root=str(tmp_path / "runs"), path=str(tmp_path / "train.csv"))
    (small, large, evaluated), _ = run("predicts", paths=paths, root=str(tmp_path / "runs"))
    growth, more = large["peak"] - small["peak"], evaluated["peak"] - large["peak"]
    figure(
        f"{sizes[1]:,} rows predicted, after {sizes[0]:,}",
        f"{growth / MB:.0f} MB more memory for a file of {pathlib.Path(paths[1]).stat().st_size / MB:.0f} MB, "
        f"{more / sizes[1]:.0f} bytes a row to evaluate it",
    )
    assert [found["rows"] for found in (small, large)] == list(sizes)
    assert [found["lines"] - 1 for found in (small, large)] == list(sizes)
    assert growth <= MOST_GROWTH
    assert more <= AT_MOST + MOST_EVALUATED * sizes[1]
    assert not list(tmp_path.glob(".*.part"))
