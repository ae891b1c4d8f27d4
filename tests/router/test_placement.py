import pytest

from router import placement
from tandem.errors import Unavailable, UnknownModel
from tandem.types import ModelInfo, NodeInfo


def node(name: str, *models: str, sandbox: str = "", trouble: str = "") -> NodeInfo:
    return NodeInfo(
        name=name,
        boot_id="b",
        version="1",
        protocol=1,
        platform="Linux",
        models=tuple(ModelInfo(name=model, backend="ollama") for model in models),
        sandbox=sandbox,
        backend_trouble=trouble,
    )


def test_the_first_node_that_has_the_model_takes_the_call() -> None:
    nodes = [None, node("a", "small"), node("b", "large"), node("c", "large")]
    choice = placement.for_model("large", nodes)
    assert (choice.index, choice.why) == (2, "b has large")


@pytest.mark.parametrize("wanted", ["large", "ollama/large", "large:latest", "ollama/large:latest"])
def test_a_default_tag_and_the_default_backend_may_be_left_out(wanted: str) -> None:
    assert placement.for_model(wanted, [node("a", "large:latest")]).index == 0


def test_another_tag_is_another_model() -> None:
    with pytest.raises(
        UnknownModel, match=r"no node has the model 'large:7b'; there are large:latest; `ollama pull large:7b`"
    ):
        placement.for_model("large:7b", [node("a", "large:latest")])


def test_no_models_at_all_is_said_so() -> None:
    with pytest.raises(UnknownModel, match=r"no models at all; look at rehearsal\.script"):
        placement.for_model("rehearsal/play", [node("a")])


def test_a_backend_that_is_down_is_named_before_a_model_is_called_unknown() -> None:
    with pytest.raises(Unavailable, match="nobody can serve 'large': Ollama is down"):
        placement.for_model("large", [node("a", "rehearsal/play", trouble="Ollama is down")])
    with pytest.raises(UnknownModel):
        placement.for_model("rehearsal/other", [node("a", "rehearsal/play", trouble="Ollama is down")])


def test_a_check_goes_where_a_sandbox_is() -> None:
    assert placement.for_check([node("a"), node("b", sandbox="bubblewrap")]).index == 1
    assert placement.for_check([None, node("b")]).index == 1


@pytest.mark.parametrize("nodes", [[], [None], [None, None]])
def test_nobody_there_is_unavailable(nodes: list[NodeInfo | None]) -> None:
    with pytest.raises(Unavailable, match="tandem doctor"):
        placement.for_model("large", nodes)
    with pytest.raises(Unavailable, match="tandem doctor"):
        placement.for_check(nodes)
