from cli.render.placements import placement_lines

ROW = {
    "request": "r/code.1/coder.1",
    "kind": "call",
    "persona": "coder",
    "node": "here",
    "from": "mini",
    "why": "12.0 s, a place is free",
    "waited_s": 1.25,
    "others": [{"node": "mini", "why": "does not answer"}, {"node": "old", "why": "does not have large"}],
    "unnamed": 3,
}


def test_each_call_is_told_with_its_node_its_reason_and_the_others() -> None:
    assert placement_lines({"run": "r", "placements": [ROW]}) == [
        "coder (r/code.1/coder.1): here, taken over from mini, after 1.2 s of waiting for a place",
        "  because: 12.0 s, a place is free",
        "  not mini: does not answer",
        "  not old: does not have large",
        "  nor 3 more",
    ]


def test_a_check_has_no_persona_and_a_short_wait_is_not_worth_a_word() -> None:
    row = {"request": "r/check.1", "kind": "check", "node": "mini", "why": "has the commit", "waited_s": 0.001}
    assert placement_lines({"placements": [row]}) == ["check (r/check.1): mini", "  because: has the commit"]


def test_a_run_of_before_is_said_to_be_one() -> None:
    assert "run r went was not kept" in placement_lines({"run": "r", "placements": []})[0]


def test_what_a_worker_calls_itself_cannot_draw_on_the_terminal() -> None:
    (head, _) = placement_lines({"placements": [{"kind": "call", "node": "a\x1b[2Jb\nc", "why": "x"}]})
    assert "\x1b" not in head
    assert "\n" not in head
