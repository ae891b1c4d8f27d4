"""A wall clock that is wrong: a small library, loaded into a child, shifts what the child takes for the time of day.

Shifted are `time`, `gettimeofday`, `timespec_get` and `clock_gettime` of CLOCK_REALTIME and CLOCK_REALTIME_COARSE, in
the child and in all it starts with its environment kept. CLOCK_MONOTONIC stays as it is, so durations are right while dates
are wrong, as after a jump of the machine's clock.

What it does not reach: times the kernel writes itself (a file's mtime), programs that are statically linked or started
with an empty environment (a sandbox), and waits that end at a date (`sem_timedwait`, a futex or a timer on CLOCK_REALTIME):
the kernel compares those with the real clock, so a wait computed from a shifted clock ends late or early by the shift.
Python's own locks and asyncio wait on the monotonic clock; gRPC kept its deadlines when the clock stood an hour before or
after and when it jumped by one (measured with grpcio 1.85.1 on Linux).

Needs Linux and a C compiler (`gcc` or `cc`); `available` says what is missing.
"""

from __future__ import annotations

import atexit
import os
import shutil
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

LOOK_S = 0.05  # how often a process looks into the file, at most; measured with it: 40 ns per answer, without: 16 ns

_SOURCE = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define SECOND 1000000000LL

static int (*real_clock)(clockid_t, struct timespec *);
static char path[PATH_MAX];
static _Atomic int state; /* 0 untouched, 1 being set up, 2 ready */
static _Atomic int64_t shift_ns, look_at_ns;
static _Atomic uint64_t *answers;

/* The first call may come before any constructor has run, so every answer asks for this. */
static int ready(void) {
    int untouched = 0;
    if (atomic_load(&state) == 2) return 1;
    if (!atomic_compare_exchange_strong(&state, &untouched, 1)) return 0;
    int kept = errno;
    real_clock = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
    const char *named = getenv("CLOCK_SHIM_FILE"), *counted = getenv("CLOCK_SHIM_COUNT");
    if (named && strlen(named) < sizeof path) strcpy(path, named);
    long fd = counted ? syscall(SYS_openat, AT_FDCWD, counted, O_RDWR | O_CLOEXEC) : -1;
    if (fd >= 0) {
        void *page = mmap(NULL, sizeof *answers, PROT_READ | PROT_WRITE, MAP_SHARED, (int)fd, 0);
        if (page != MAP_FAILED) answers = page;
        syscall(SYS_close, fd);
    }
    errno = kept;
    atomic_store(&state, 2);
    return 1;
}

__attribute__((constructor)) static void begin(void) { ready(); }

/* No strtod: what it takes for a decimal point depends on the program's locale. */
static int64_t parsed(const char *text) {
    int64_t whole = 0, part = 0, unit = SECOND / 10;
    int minus = *text == '-';
    text += minus || *text == '+';
    for (; *text >= '0' && *text <= '9'; text++)
        if (whole < 100000000LL) whole = whole * 10 + (*text - '0');
    if (*text == '.')
        for (text++; *text >= '0' && *text <= '9' && unit; text++, unit /= 10) part += unit * (*text - '0');
    return (minus ? -1 : 1) * (whole * SECOND + part);
}

static int64_t nanoseconds(const struct timespec *t) { return t->tv_sec * SECOND + t->tv_nsec; }

/* Raw system calls, because open and read are points where a thread may be cancelled and clocks are not. */
static void look(void) {
    int kept = errno;
    char text[64];
    long fd = syscall(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC);
    if (fd >= 0) {
        long got = syscall(SYS_read, fd, text, sizeof text - 1);
        syscall(SYS_close, fd);
        if (got > 0) {
            text[got] = 0;
            atomic_store(&shift_ns, parsed(text));
        }
    }
    errno = kept;
}

/* No lock is held while the file is read, so a fork at that moment leaves nothing locked in the child. */
static int64_t shift(void) {
    struct timespec now;
    real_clock(CLOCK_MONOTONIC, &now);
    int64_t at = nanoseconds(&now), due = atomic_load(&look_at_ns);
    if (at >= due && path[0] && atomic_compare_exchange_strong(&look_at_ns, &due, at + LOOK_NS)) look();
    return atomic_load(&shift_ns);
}

static void shifted(struct timespec *t) {
    int64_t by = shift();
    if (!by) return;
    int64_t sum = nanoseconds(t) + by, below = sum % SECOND < 0;
    t->tv_sec = sum / SECOND - below;
    t->tv_nsec = sum % SECOND + below * SECOND;
    if (answers) atomic_fetch_add(answers, 1);
}

int clock_gettime(clockid_t clock, struct timespec *t) {
    if (!ready() || !real_clock) return (int)syscall(SYS_clock_gettime, clock, t);
    int rc = real_clock(clock, t);
    if (rc == 0 && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) shifted(t);
    return rc;
}

int timespec_get(struct timespec *t, int base) {
    return base == TIME_UTC && clock_gettime(CLOCK_REALTIME, t) == 0 ? base : 0;
}

int gettimeofday(struct timeval *restrict t, void *restrict zone) {
    struct timespec now;
    if (zone) memset(zone, 0, sizeof(struct timezone));
    if (clock_gettime(CLOCK_REALTIME, &now)) return -1;
    t->tv_sec = now.tv_sec;
    t->tv_usec = now.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *to) {
    struct timespec now;
    if (clock_gettime(CLOCK_REALTIME_COARSE, &now)) return (time_t)-1;
    if (to) *to = now.tv_sec;
    return now.tv_sec;
}
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClockShim:
    """One wrong clock. `env` goes into the environment of the children that shall see it."""

    env: dict[str, str]
    shift_file: Path
    count_file: Path

    def set(self, seconds: float) -> None:
        """Shift the clock by `seconds` (up to 30 years either way); returns once every process must look again."""
        new = self.shift_file.with_suffix(".new")
        new.write_text(f"{seconds:.9f}")
        new.replace(self.shift_file)  # nobody reads half a number
        time.sleep(LOOK_S * 1.2)

    def calls(self) -> int:
        """Return how many shifted answers all children together have been given."""
        (count,) = struct.unpack("=Q", self.count_file.read_bytes())
        return count


def available() -> str:
    """Return "" where the shim works, or the reason why it can not."""
    if sys.platform != "linux":
        return "the clock shim needs Linux's LD_PRELOAD"
    return "" if _compiler() else "the clock shim needs a C compiler: install gcc"


@contextmanager
def clock_shim(folder: Path) -> Generator[ClockShim]:
    """Yield a clock that is not shifted yet; its two files lie in `folder`.

    Raises:
        RuntimeError: This machine can not have one; the message says why, or what the compiler said.
    """
    if reason := available():
        raise RuntimeError(reason)
    place = Path(tempfile.mkdtemp(prefix="clock-", dir=folder))
    shift_file, count_file = place / "shift", place / "count"
    shift_file.write_text("0")
    count_file.write_bytes(bytes(8))
    loaded = [str(_library()), *filter(None, [os.environ.get("LD_PRELOAD")])]
    env = {
        "LD_PRELOAD": ":".join(loaded),
        "CLOCK_SHIM_FILE": str(shift_file),
        "CLOCK_SHIM_COUNT": str(count_file),
    }
    try:
        yield ClockShim(env=env, shift_file=shift_file, count_file=count_file)
    finally:
        shutil.rmtree(place, ignore_errors=True)  # a child that outlives this keeps the last shift


def _compiler() -> str | None:
    return shutil.which("gcc") or shutil.which("cc")


@cache
def _library() -> Path:
    """Return the compiled library; it is compiled once per process and goes when the process ends."""
    place = Path(tempfile.mkdtemp(prefix="clockshim-"))
    atexit.register(shutil.rmtree, place, ignore_errors=True)
    source, library = place / "clockshim.c", place / "clockshim.so"
    source.write_text(_SOURCE)
    look_ns = f"-DLOOK_NS={round(LOOK_S * 1e9)}LL"
    argv = [str(_compiler()), "-O2", "-Wall", "-shared", "-fPIC", look_ns, "-o", str(library), str(source), "-ldl"]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"the clock shim did not compile:\n{done.stderr}")
    return library
