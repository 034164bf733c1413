"""The supervisor: children come back when they fall, stop when told, and die with it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from cutover import run
from cutover.run import Child, Supervisor

PYTHON = (sys.executable, "-c")
SAY = "import os; open(os.environ['OUT'], 'a').write({text!r} + '\\n')"


def wait_for(condition: Callable[[], bool], seconds: float = 20.0) -> None:
    pause = threading.Event()
    for _ in range(int(seconds / 0.02)):
        if condition():
            return
        pause.wait(0.02)
    raise AssertionError("did not happen in time")


def supervise(tmp_path: Path, *programs: str) -> tuple[Supervisor, Path]:
    out = tmp_path / "out"
    out.touch()
    children = [Child(f"child-{number}", [program]) for number, program in enumerate(programs)]
    return Supervisor(children, {"OUT": str(out)}, PYTHON), out


def test_a_child_that_falls_is_started_again(tmp_path: Path) -> None:
    supervisor, out = supervise(tmp_path, SAY.format(text="up") + "; os.kill(os.getpid(), 9)")
    stop = threading.Event()
    result: list[int] = []
    thread = threading.Thread(target=lambda: result.append(supervisor.run(stop)))
    thread.start()
    wait_for(lambda: out.read_text().count("up") >= 3)
    stop.set()
    thread.join(20)
    assert result == [0]
    assert supervisor.restarts >= 2


def test_all_refused_is_refused(tmp_path: Path) -> None:
    supervisor, _ = supervise(tmp_path, "raise SystemExit(5)", "raise SystemExit(5)")
    assert supervisor.run(threading.Event()) == 5


@pytest.mark.parametrize("code", [2, 5])  # the plan's files may have become wrong while the others run
def test_one_refused_leaves_the_others_running(tmp_path: Path, code: int) -> None:
    supervisor, out = supervise(
        tmp_path, f"raise SystemExit({code})", SAY.format(text="alive") + "; import time; time.sleep(60)"
    )
    stop = threading.Event()
    result: list[int] = []
    thread = threading.Thread(target=lambda: result.append(supervisor.run(stop)))
    thread.start()
    wait_for(lambda: "alive" in out.read_text() and supervisor.children[0].refused)
    assert thread.is_alive()
    stop.set()
    thread.join(20)
    assert result == [0]
    assert supervisor.restarts == 0


def test_one_that_runs_again_after_a_refusal_is_left_running(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Healed, it counts as refused no longer when the others are."""
    monkeypatch.setattr(run, "_REFUSED", 0.1)
    marks = tmp_path / "out"
    healed = (
        "import os, time; again = 'asked' in open(os.environ['OUT']).read();"
        f"{SAY.format(text='asked')}; again or os._exit(5); {SAY.format(text='well')}; time.sleep(60)"
    )
    later = (
        "import os, time\nwhile 'well' not in open(os.environ['OUT']).read(): time.sleep(0.02)\n"
        f"{SAY.format(text='refused')}\nraise SystemExit(5)"
    )
    supervisor, _ = supervise(tmp_path, healed, later)
    stop = threading.Event()
    result: list[int] = []
    thread = threading.Thread(target=lambda: result.append(supervisor.run(stop)))
    thread.start()
    wait_for(lambda: marks.read_text().count("refused") >= 2 or not thread.is_alive())
    assert thread.is_alive()
    stop.set()
    thread.join(20)
    assert result == [0]


STOPPABLE = """
import os
from cutover.signals import stop_on_signals
stop = stop_on_signals()
open(os.environ['OUT'], 'a').write(f'{os.getpid()}\\n')
stop.wait(60)
open(os.environ['OUT'], 'a').write('finished\\n')
"""


def test_children_finish_when_the_supervisor_is_stopped(tmp_path: Path) -> None:
    supervisor, out = supervise(tmp_path, STOPPABLE, STOPPABLE)
    stop = threading.Event()
    thread = threading.Thread(target=supervisor.run, args=(stop,))
    thread.start()
    wait_for(lambda: len(out.read_text().split()) == 2)
    stop.set()
    thread.join(20)
    assert out.read_text().count("finished") == 2


def test_children_finish_when_the_supervisor_is_killed(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.touch()
    script = f"""
import sys, threading
import pytest

from cutover.run import Child, Supervisor
Supervisor([Child('a', [{STOPPABLE!r}])], {{'OUT': {str(out)!r}}}, (sys.executable, '-c')).run(threading.Event())
"""
    supervisor = subprocess.Popen([*PYTHON, script])
    wait_for(lambda: len(out.read_text().split()) == 1)
    supervisor.kill()
    supervisor.wait()
    wait_for(lambda: "finished" in out.read_text())


def test_a_second_signal_ends_a_process_at_once(tmp_path: Path) -> None:
    script = """
import time
from cutover.signals import stop_on_signals
stop = stop_on_signals()
print('ready', flush=True)
stop.wait()
print('first', flush=True)
time.sleep(60)
"""
    with subprocess.Popen([*PYTHON, script], stdout=subprocess.PIPE, text=True, env=dict(os.environ)) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGINT)
        assert process.stdout.readline() == "first\n"
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == -signal.SIGTERM
