"""Nobody looks a name up or connects beyond this machine unless it was asked for: traced in every process of a run."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.needs import require
from tests.support.stack import Stack

SHIM = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <netdb.h>
#include <netinet/in.h>
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>

static void tell(const char *what, const char *name) {
    const char *path = getenv("LOOKUPS");
    FILE *file = path ? fopen(path, "a") : NULL;
    if (file) { fprintf(file, "%s %s\n", what, name ? name : "-"); fclose(file); }
}

static void tell_address(const char *what, const struct sockaddr *to) {
    char text[64] = "";
    if (to && to->sa_family == AF_INET) {
        const struct sockaddr_in *in = (const void *)to;
        if ((ntohl(in->sin_addr.s_addr) >> 24) == 127) return;
        inet_ntop(AF_INET, &in->sin_addr, text, sizeof text);
        tell(what, text);
    } else if (to && to->sa_family == AF_INET6) {
        const struct sockaddr_in6 *in = (const void *)to;
        if (IN6_IS_ADDR_LOOPBACK(&in->sin6_addr)) return;
        inet_ntop(AF_INET6, &in->sin6_addr, text, sizeof text);
        tell(what, text);
    }
}

int getaddrinfo(const char *n, const char *s, const struct addrinfo *h, struct addrinfo **r) {
    tell("getaddrinfo", n);
    int (*next)(const char *, const char *, const struct addrinfo *, struct addrinfo **) = dlsym(RTLD_NEXT, "getaddrinfo");
    return next(n, s, h, r);
}

int connect(int fd, const struct sockaddr *to, socklen_t size) {
    tell_address("connect", to);
    int (*next)(int, const struct sockaddr *, socklen_t) = dlsym(RTLD_NEXT, "connect");
    return next(fd, to, size);
}

ssize_t sendto(int fd, const void *b, size_t n, int f, const struct sockaddr *to, socklen_t size) {
    tell_address("sendto", to);
    ssize_t (*next)(int, const void *, size_t, int, const struct sockaddr *, socklen_t) = dlsym(RTLD_NEXT, "sendto");
    return next(fd, b, n, f, to, size);
}
"""


@pytest.fixture(scope="module")
def shim(tmp_path_factory: pytest.TempPathFactory) -> Path:
    compiler = shutil.which("cc") or shutil.which("gcc") or ""
    there = compiler and sys.platform == "linux"
    require("a C compiler", "" if there else "tracing look-ups needs a C compiler and LD_PRELOAD")
    folder = tmp_path_factory.mktemp("shim")
    (folder / "shim.c").write_text(SHIM)
    library = folder / "shim.so"
    subprocess.run([compiler, "-shared", "-fPIC", "-o", str(library), str(folder / "shim.c"), "-ldl"], check=True)
    return library


def test_the_tracer_sees_a_look_up(shim: Path, tmp_path: Path) -> None:
    log = tmp_path / "lookups"
    ask = "import socket\ntry: socket.getaddrinfo('name.invalid', 80)\nexcept OSError: pass"
    subprocess.run([sys.executable, "-c", ask], env={"LD_PRELOAD": str(shim), "LOOKUPS": str(log)}, check=True)
    assert "getaddrinfo name.invalid" in log.read_text()


def test_a_whole_run_looks_nothing_up_and_connects_nowhere(shim: Path, tmp_path: Path) -> None:
    log = tmp_path / "lookups"
    stack = Stack(tmp_path, {"LD_PRELOAD": str(shim), "LOOKUPS": str(log), "PATH": os.environ["PATH"]})
    done = stack.cli("demo", "--json", timeout=110)
    assert done.returncode == 0, done.stderr
    assert not log.exists(), log.read_text()
