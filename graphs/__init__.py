"""The team at work: the workflow in LangGraph. It knows ports, not machines."""
