"""Known ways to cheat a judge that runs tests, each beside a change that looks alike and is honest."""
