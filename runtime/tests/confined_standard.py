"""What code of a model does with the standard library within its own process and scratch directory.

Each function is called in a confined process, in its scratch directory, by `test_confined_libraries`. Any Python.
"""

import asyncio
import fcntl
import multiprocessing
import os
import resource
import shutil
import signal
import sqlite3
import subprocess
import sys
import tarfile
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path


def threads():
    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(abs, range(9))) == 36


def copies():
    Path("a").write_text("x")
    Path("t/u").mkdir(parents=True)
    shutil.copy("a", "t/b")
    shutil.copy2("a", "t/u/c")
    shutil.copytree("t", "t2")
    shutil.move("t2", "t3")
    assert Path("t3/u/c").read_text() == "x"


def temporary_files():
    with tempfile.TemporaryDirectory() as directory, tempfile.NamedTemporaryFile() as file:
        file.write(b"1")
        assert Path(directory).stat().st_mode & 0o777 == 0o700


def archives():
    Path("z").write_text("z")
    with tarfile.open("z.tar", "w") as archive:
        archive.add("z")
    with tarfile.open("z.tar") as archive:
        archive.extractall("out")
    assert Path("out/z").read_text() == "z"


def locks():
    with Path("lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        fcntl.lockf(file, fcntl.LOCK_EX)


def a_file_that_is_touched_again():
    Path("touched").touch()
    Path("touched").touch()


def sqlite():
    with sqlite3.connect("db") as connection:
        connection.execute("create table t(a)")
        connection.execute("insert into t values(4)")
    assert connection.execute("select a from t").fetchall() == [(4,)]


def programs():
    shown = subprocess.run("echo hi | cat", shell=True, stdout=subprocess.PIPE, check=True, start_new_session=True)
    assert shown.stdout == b"hi\n"
    ended = subprocess.Popen(["cat"], stdin=subprocess.PIPE)  # it ends with us
    ended.terminate()
    assert ended.wait() == -signal.SIGTERM


def a_process_that_aborts():
    aborted = subprocess.run([sys.executable, "-I", "-S", "-c", "import os; os.abort()"])
    assert aborted.returncode == -signal.SIGABRT


def asyncio_and_its_programs():
    async def echoed():
        process = await asyncio.create_subprocess_exec("/bin/echo", "x", stdout=subprocess.PIPE)
        return (await process.communicate())[0]

    assert asyncio.run(echoed()) == b"x\n"


def a_forked_process_and_a_pipe_to_it():
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe()
    process = context.Process(target=theirs.send, args=(5,))
    process.start()
    assert ours.recv() == 5
    process.join()


def processors():
    assert os.sched_getaffinity(0) == os.sched_getaffinity(os.getpid())
    os.sched_setaffinity(0, os.sched_getaffinity(0))


def its_own_limits():
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
    assert resource.getrlimit(resource.RLIMIT_NOFILE) == (64, 64)


def its_own_signals():
    arrived = []
    signal.signal(signal.SIGUSR1, lambda *_: arrived.append(1))
    os.kill(os.getpid(), signal.SIGUSR1)
    assert arrived == [1]
