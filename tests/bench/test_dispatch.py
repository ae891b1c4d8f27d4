import json

from bench import dispatch


def test_the_bench_measures_all_three_sides_in_plain_json() -> None:
    found = dispatch.run(quick=True)
    assert json.loads(json.dumps(found)) == found
    assert found["messages"] >= 2
    assert found["reply_bytes"] > 2 * 7000  # the pieces, and the reply itself
    for streams in (found["one_stream"], found["sixteen_streams"]):
        for what in ("first_message", "whole"):
            sides = {side: streams[what][f"{side}_ms"] for side in ("ours", "bare", "direct")}
            assert all(0 < figures["p50"] <= figures["p99"] for figures in sides.values())
            assert streams[what]["ratio_to_bare"]["p50"] > 0  # how much is for a quiet machine to say
    assert found["git_push"]["warm_ms"]["p50"] > 0
