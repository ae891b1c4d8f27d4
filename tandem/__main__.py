"""`python -m tandem router|worker|cli ...`: start a program without its script on PATH."""

import sys

from tandem import entry

if __name__ == "__main__":
    programs = {"cli": entry.cli, "router": entry.router, "worker": entry.worker}
    name = sys.argv[1] if len(sys.argv) > 1 else ""
    if name not in programs:
        sys.exit(f"usage: python -m tandem {{{'|'.join(programs)}}} ...")
    sys.argv = [f"tandem {name}", *sys.argv[2:]]
    programs[name]()
