"""Uses tampered studies in a process that is watched: python programs_stranger.py ORDERS

ORDERS is a file of JSON: the folders that may be read ("readable") and written ("scratch"), and the studies, each with
its root and the worker processes to use. All is used once without a watch first (the study "warm"), so that what is
loaded later is not part of the package's start. Each study then is read, reported on, predicted with, exported,
continued and overwritten; a line of JSON says what came of it, and what was touched that must not be.
"""

import contextlib
import faulthandler
import json
import os
import pathlib
import re
import sys
import sysconfig
import time
import traceback

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "golden")]

CASE = "classification"
MOST_SECONDS = 1800
NOT_FOLLOWED = {"os.remove", "os.rename", "os.link", "os.symlink", "os.rmdir", "os.mkdir"}
PATHS = {"open", "os.listdir", "os.scandir", "os.chdir", "os.truncate", "os.chmod", "os.utime", "sqlite3.connect"}
PATHS |= NOT_FOLLOWED | {"shutil.rmtree", "shutil.move", "shutil.copyfile", "shutil.copytree", "ctypes.dlopen"}
FORBIDDEN = (
    "socket.connect", "socket.bind", "socket.getaddrinfo", "socket.sendto", "urllib.Request", "http.client.connect",
    "os.system", "os.exec", "os.posix_spawn", "os.spawn", "pty.spawn", "webbrowser.open", "pickle.find_class",
    "marshal.loads", "sqlite3.load_extension", "ftplib.connect", "smtplib.connect",
)  # fmt: skip


class Watch:
    """An audit hook that notes what is touched outside of the folders that may be."""

    def __init__(self, readable, scratch):
        installed = {sys.prefix, sys.base_prefix, sysconfig.get_path("stdlib"), str(HERE.parents[1])}
        system = ("/proc", "/sys", "/dev", "/usr", "/lib", "/etc/localtime", "/etc/ld.so.cache")
        self._readable = tuple(map(os.path.realpath, (*installed, *readable))) + system
        self._scratch = os.path.realpath(scratch)
        self.study = None
        self.workers = False
        self.touched = []
        sys.addaudithook(self._hook)

    def _hook(self, event, arguments):
        if self.study is None:
            return
        study, self.study = self.study, None  # what is done here is not watched
        try:
            problem = self._problem(study, event, arguments)
            if problem:
                self.touched.append(f"{event}: {problem}")
        finally:
            self.study = study

    def _problem(self, study, event, arguments):
        if event.startswith(FORBIDDEN):
            return repr(arguments)[:200]
        if event == "subprocess.Popen":
            ours = "worker_process" in str(arguments[1]) or arguments[0] == "nvidia-smi"  # which counts the GPUs
            return "" if self.workers and ours else repr(arguments)[:200]
        if event in ("compile", "exec", "import"):
            return self._code(event, arguments)
        if event not in PATHS:
            return ""
        places = arguments[:2] if event in ("os.rename", "os.link", "shutil.move", "shutil.copyfile") else arguments[:1]
        writes = event != "open" or self._writes(arguments)
        return "; ".join(filter(None, (self._place(study, event, place, arguments, writes) for place in places)))

    def _code(self, event, arguments):
        if event == "import":
            name, place = arguments[0], arguments[1]
        else:
            name, place = "", arguments[0].co_filename if event == "exec" else arguments[1]
        if place is None or not isinstance(place, str) or not place.startswith(os.sep):
            return ""
        return "" if self._is_readable(os.path.realpath(place)) else f"{name} {place}"

    def _writes(self, arguments):
        _, mode, flags = arguments
        return bool((flags or 0) & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)) or any(c in (mode or "") for c in "wax+")

    def _place(self, study, event, place, arguments, writes):
        if isinstance(place, int) or place is None:
            return ""  # opened before
        path = pathlib.Path.cwd() / os.fsdecode(place)
        follows = event not in NOT_FOLLOWED and not (event == "open" and (arguments[2] or 0) & os.O_NOFOLLOW)
        real = os.path.realpath(path) if follows else f"{os.path.realpath(path.parent)}/{path.name}"
        if self._is_in(real, study) or self._is_in(real, self._scratch):
            return ""
        is_of_studies = real == study.rpartition("/")[0]
        if is_of_studies and event in ("os.mkdir", "os.listdir", "os.scandir"):
            return ""
        if is_of_studies and event == "open" and not writes:
            return ""  # to lock it
        if re.match(rf"{re.escape(study.rpartition('/')[0])}/\.study\.[0-9a-f]+\.old(/|$)", real):
            return ""  # the study itself, renamed before it is overwritten
        if real in ("/dev/null",) or (not writes and self._is_readable(real)):
            return ""
        if event in ("os.listdir", "os.scandir", "ctypes.dlopen") and self._is_readable(real):
            return ""
        return f"{path} ({real})"

    def _is_readable(self, real):
        return any(self._is_in(real, place) for place in self._readable)

    @staticmethod
    def _is_in(real, place):
        return real == place or real.startswith(place + os.sep)


def use(case, root, rows, provider, workers):
    """What a user does with a study, by name."""
    import model_search

    def loaded():
        return model_search.load_study(root, "study")

    def read():
        study = loaded()
        board = study.leaderboard()
        return f"{study!r} {len(board)} {len(study.trials)} {study.best} {study.recommended_trial.id}"

    def proceed(number_models=9, **options):
        study = case.search(
            root, provider, number_models=number_models, finish="ensemble", keep_models=1, workers=workers, **options
        )
        return f"{len(study.trials)} trials"

    return {
        "read": read,
        "report": lambda: str(loaded().report()),
        "predict": lambda: str(list(loaded().predict(rows)[:3])),
        "probabilities": lambda: str(loaded().predict_proba(rows).shape),
        "predict by the student": lambda: str(list(loaded().predict(rows, trial="student")[:3])),
        "predict by a trial": lambda: str(list(loaded().predict(rows, trial=4)[:3])),
        "evaluate": lambda: str(loaded().evaluate(rows)),
        "export": lambda: str(loaded().export(root / "study" / "final" / "model.keras")),
        "continue": proceed,
        "finish": lambda: str(len(loaded().finish())),
        "report to a file": lambda: str(loaded().report(root / "study" / "report.html")),
        "overwrite": lambda: proceed(1, overwrite=True, train_steps=2),
    }


def attempt(act):
    """What came of it: an answer, a sentence, or a traceback."""
    from model_search.errors import ModelSearchError

    try:
        return "answer", act()[:300]
    except ModelSearchError as error:
        return "sentence", f"{type(error).__name__}: {error}"
    except Exception:
        return "traceback", traceback.format_exc()


def main(orders_file):
    orders = json.loads(pathlib.Path(orders_file).read_text())
    os.chdir(orders["scratch"])
    faulthandler.dump_traceback_later(MOST_SECONDS, exit=True)  # what hangs is shown
    from golden_cases import BY_NAME

    case = BY_NAME[CASE]
    data = pathlib.Path(orders["data"])
    rows, provider = case.rows(data), case.provider(data)
    for what, act in use(case, pathlib.Path(orders["warm"]), rows, provider, None).items():
        kind, text = attempt(act)
        if kind != "answer":
            raise RuntimeError(f"the untouched study: {what}: {text}")
    watch = Watch(orders["readable"], orders["scratch"])
    for study in orders["studies"]:
        root, began = pathlib.Path(study["root"]), time.process_time()
        said = {}
        for what, act in use(case, root, rows, provider, study["workers"]).items():
            if study["workers"] and what != "continue":
                continue
            print(study["name"], what, file=sys.stderr, flush=True)
            watch.study, watch.workers = os.path.realpath(root / "study"), study["workers"] is not None
            kind, text = attempt(act)
            watch.study = None
            said[what] = [kind, text]
        touched, watch.touched = watch.touched, []
        seconds = round(time.process_time() - began, 2)
        print(json.dumps({"name": study["name"], "said": said, "touched": touched, "seconds": seconds}), flush=True)


if __name__ == "__main__":
    with contextlib.suppress(BrokenPipeError):
        main(sys.argv[1])
