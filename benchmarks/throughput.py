"""How fast are trials? The same towers by KerasTuner, by `keras.Model.fit` and by this trainer, in one run.

    python benchmarks/throughput.py --datasets DIR [--quick]

1. Twenty towers with the hyperparameters of a search of the stock space by the plain beam: KerasTuner as it does by
   default (it evaluates and checkpoints each epoch) against our search, whole processes.
2. Towers by width: seconds a trial.
3. One tower against `fit` and `evaluate`, with NumPy input, tf.data and `steps_per_execution`.
4. The floor: the tower's products and updates at the rates that this machine reaches at these sizes.
5. The time of a search by phase.

Every contender runs in a process of its own. Needs keras-tuner and tensorboard (`pip install .[bench]`).
"""

from __future__ import annotations

import argparse
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time
from typing import Any

from tables import Table, add_datasets_flag, read_index

STEPS, BATCH = 1000, 32
WIDE = "FIXED_OUTPUT_FULLY_CONNECTED_"
BY_WIDTH = {
    "1 x 64": (64,),
    "1 x 128": (128,),
    "1 x 256": (256,),
    "3 x 256": (256,) * 3,
    "3 x 512": (512,) * 3,
    "3 x 1024": (1024,) * 3,
}
REACH_BY_WIDTH = {"1 x 64": 5.0, "1 x 128": 5.0, "1 x 256": 3.0, "3 x 256": 3.0}
REACH_TOTAL = 3.0
REACH_FIT = {"3 x 256 with batch normalisation": 2.5, "1 x 64": 5.0}
REACH_FLOOR = {"loop": 3.0, "trial": 5.0}


def table_data(table: Table) -> Any:
    from model_search.data.prepare_options import PrepareOptions

    return provider(table).prepare(PrepareOptions(seed=1, batch_size=BATCH))


def provider(table: Table) -> Any:
    from model_search.data import csv_data

    return csv_data.Provider(filename=str(table.train), validation_filename=str(table.valid), label=table.label)


def job_search(table: Table, job: dict[str, Any]) -> dict[str, Any]:
    """Our search in this process; leaves its plans for the others."""
    started = time.perf_counter()
    import model_search.training.engine  # noqa: F401
    from model_search.training.runtime import tensorflow

    tensorflow()
    imported = time.perf_counter()
    import contenders

    with tempfile.TemporaryDirectory() as folder:
        plans = contenders.search_and_time(lambda: provider(table), STEPS, BATCH, job["models"], folder)
        from model_search.study import load_study

        study = load_study(folder, "throughput")
        phases: dict[str, float] = {}
        for trial in study.trials:
            for phase, seconds in trial.result.timings.items():
                phases[phase] = phases.get(phase, 0.0) + seconds
        best = max(trial.result.metrics["accuracy"] for trial in study.trials)
        study.close()
    whole = time.perf_counter() - started
    phases["import"] = imported - started
    phases["data, planning, store"] = whole - phases["import"] - phases.pop("total")
    return {"plans": [plan.to_json() for plan in plans], "phases": phases, "accuracy": best}


def job_tuner(table: Table, job: dict[str, Any]) -> dict[str, Any]:
    import contenders

    from model_search.metadata.trial import TrialPlan

    plans = [TrialPlan.from_json(text) for text in job["plans"]]
    return {"trials": contenders.run_keras_tuner(table_data(table), plans)}


def job_engine(table: Table, job: dict[str, Any]) -> dict[str, Any]:
    import contenders

    from model_search.metadata.trial import TrialPlan

    if job.get("own_block"):
        contenders.register_own_block()
    return {"trials": contenders.run_engine(table_data(table), [TrialPlan.from_json(text) for text in job["plans"]])}


def job_fit(table: Table, job: dict[str, Any]) -> dict[str, Any]:
    import contenders

    from model_search.metadata.trial import TrialPlan

    contenders.register_own_block()
    return {"trials": contenders.run_fit(table_data(table), TrialPlan.from_json(job["plan"]), job["way"])}


def job_floor(table: Table, job: dict[str, Any]) -> dict[str, Any]:
    import floor

    inputs = table_data(table).train.inputs["features"].shape[1]
    products, updates, rate = floor.floor_seconds([inputs, *job["widths"], 2], BATCH, STEPS)
    return {"products": products, "updates": updates, "rate": rate}


JOBS = {"search": job_search, "tuner": job_tuner, "engine": job_engine, "fit": job_fit, "floor": job_floor}


def run(table: Table, kind: str, **job: Any) -> dict[str, Any]:
    """Runs a job in a process of its own; its answer, with the seconds of the whole process."""
    with tempfile.TemporaryDirectory() as folder:
        request, answer = pathlib.Path(folder, "job.json"), pathlib.Path(folder, "answer.json")
        request.write_text(json.dumps({"kind": kind, "table": table.name, **job}))
        command = [sys.executable, __file__, "--datasets", str(table.folder.parent), "--job", str(request)]
        started = time.perf_counter()
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        seconds = time.perf_counter() - started
        if done.returncode:
            sys.exit(f"{kind} failed:\n{done.stderr[-3000:]}")
        return {**json.loads(answer.read_text()), "process": seconds}


def work(datasets: str, request: pathlib.Path) -> None:
    job = json.loads(request.read_text())
    answer = JOBS[job["kind"]](read_index(datasets)[job["table"]], job)
    (request.parent / "answer.json").write_text(json.dumps(answer))


def verdict(ratio: float, reach: float | None) -> str:
    if reach is None:
        return ""
    return f"  (aim {reach:g}: {'reached' if ratio >= reach else 'NOT reached'})"


def show_search(table: Table, models: int) -> None:
    ours = run(table, "search", models=models)
    theirs = run(table, "tuner", plans=ours["plans"])
    ratio = theirs["process"] / ours["process"]
    print(f"\n{models} towers of a search of the stock space, whole processes")
    print(f"  KerasTuner {theirs['process']:7.1f} s   best accuracy {max(t['accuracy'] for t in theirs['trials']):.3f}")
    print(f"  this trainer {ours['process']:5.1f} s   best accuracy {ours['accuracy']:.3f}")
    print(f"  {ratio:.1f} times less time{verdict(ratio, REACH_TOTAL)}")
    print("  where our time goes (seconds; 'trial' is the sum with bookkeeping):")
    print("   " + ", ".join(f"{phase} {seconds:.2f}" for phase, seconds in ours["phases"].items()))


def show_widths(table: Table, names: list[str]) -> None:
    from contenders import plan_of

    print("\ntowers by width: seconds a trial, the better of two, in a warm process")
    warm_up = plan_of([f"{WIDE}64"], STEPS, BATCH)
    plans = [plan_of([f"{WIDE}{width}" for width in BY_WIDTH[name]], STEPS, BATCH) for name in names for _ in range(2)]
    texts = [plan.to_json() for plan in (warm_up, *plans)]
    ours, theirs = (run(table, kind, plans=texts)["trials"][1:] for kind in ("engine", "tuner"))
    print(
        f"  {'tower':10s} {'KerasTuner':>10s} {'ours':>7s} {'ratio':>6s} {'products':>9s} {'updates':>8s}  times floor"
    )
    for place, name in enumerate(names):
        here = slice(2 * place, 2 * place + 2)
        slow = min(trial["seconds"] for trial in theirs[here])
        fast = min(trial["seconds"] for trial in ours[here])
        loop = min(trial["train"] for trial in ours[here])
        least = run(table, "floor", widths=BY_WIDTH[name])
        total = least["products"] + least["updates"]
        aim = verdict(slow / fast, REACH_BY_WIDTH.get(name))
        print(
            f"  {name:10s} {slow:10.2f} {fast:7.2f} {slow / fast:6.1f} {least['products']:9.2f} {least['updates']:8.2f}"
            f"  loop {loop / total:.1f}, trial {fast / total:.1f}{aim}"
        )
        if name == "3 x 256":
            for what, seconds in (("loop", loop), ("trial", fast)):
                times, reach = seconds / least["products"], REACH_FLOOR[what]
                word = "reached" if times <= reach else "NOT reached"
                rate = least["rate"] / 1e9
                print(f"    {what} {times:.1f} times its products at {rate:.0f} GFLOP/s (aim {reach:g}: {word})")


def show_fit(table: Table) -> None:
    from contenders import BLOCK_WITH_BATCH_NORMALISATION, FIT_WAYS, plan_of

    print("\none tower against fit and evaluate: seconds of the first and of the second one in a process")
    towers = {
        "3 x 256 with batch normalisation": plan_of([BLOCK_WITH_BATCH_NORMALISATION] * 3, STEPS, BATCH),
        "1 x 64": plan_of([f"{WIDE}64"], STEPS, BATCH),
    }
    for name, plan in towers.items():
        print(f"  {name}")
        ours = [t["seconds"] for t in run(table, "engine", plans=[plan.to_json()] * 2, own_block=True)["trials"]]
        for way in FIT_WAYS:
            theirs = [t["seconds"] for t in run(table, "fit", plan=plan.to_json(), way=way)["trials"]]
            ratio = theirs[1] / ours[1]
            aim = verdict(ratio, REACH_FIT[name] if way == "numpy" else None)
            print(f"    {way:34s} {theirs[0]:6.2f} {theirs[1]:6.2f}   {ratio:.1f} times ours{aim}")
        print(f"    {'this trainer':34s} {ours[0]:6.2f} {ours[1]:6.2f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_datasets_flag(parser)
    parser.add_argument("--table", default="phoneme", help="the table to train on")
    parser.add_argument("--quick", action="store_true", help="five towers and the narrow widths only")
    parser.add_argument("--parts", default="search,widths,fit", help="which parts to run, comma-separated")
    parser.add_argument("--job", type=pathlib.Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.job is not None:
        work(arguments.datasets, arguments.job)
        return
    table = read_index(arguments.datasets)[arguments.table]
    load = f", load {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else ""
    print(f"{table.name}: batch {BATCH}, {STEPS} steps, {os.cpu_count()} cores{load}", flush=True)
    parts = arguments.parts.split(",")
    names = list(BY_WIDTH)[:4] if arguments.quick else list(BY_WIDTH)
    if "fit" in parts:
        show_fit(table)
    if "widths" in parts:
        show_widths(table, names)
    if "search" in parts:
        show_search(table, 5 if arguments.quick else 20)


if __name__ == "__main__":
    main()
