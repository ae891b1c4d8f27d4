"""The router: takes tasks, asks workers and people, keeps the journal.

Three switches are set here, before any library that reads them at import: checkpoints are never deserialised
permissively (a crafted one would run code), and no tracing library of a dependency speaks to the network.
"""

import os

os.environ["LANGGRAPH_STRICT_MSGPACK"] = "true"
os.environ["LANGSMITH_TRACING"] = "false"
os.environ["OTEL_SDK_DISABLED"] = "true"
