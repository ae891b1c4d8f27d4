"""Tiny models with random weights in the layout of real checkpoints, so that real servers load and serve them.

A model says nothing sensible, but takes the ways a real one takes: tokenizer, chat template, attention, cache, sampling.
Byte-identical for a seed. Layout and names are those of Qwen2 and Qwen3-Next checkpoints on the Hugging Face hub.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

Weights = dict[str, npt.NDArray[np.float32]]

VOCABULARY = 4096
_BPE = 4000  # the rest is for special tokens, and for padding as real models have it
_SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
_PLAIN = ("<tool_call>", "</tool_call>", "<tool_response>", "</tool_response>")
_ROOT = Path(__file__).resolve().parents[2]

# Servers look into the template for the form in which the model writes tool calls.
_JSON_CALL = (
    r"""{{ '<tool_call>\n{"name": "' + tool_call.name + '", "arguments": ' }}"""
    r"""{{ tool_call.arguments | tojson }}{{ '}\n</tool_call>\n' }}"""
)
_XML_CALL = (
    r"""{{ '<tool_call>\n<function=' + tool_call.name + '>\n' }}"""
    r"""{%- for name, value in tool_call.arguments | items %}"""
    r"""{{ '<parameter=' + name + '>\n' + (value | string) + '\n</parameter>\n' }}{%- endfor %}"""
    r"""{{ '</function>\n</tool_call>\n' }}"""
)


def qwen2(folder: Path, *, hidden: int = 32, layers: int = 2, seed: int = 1) -> Path:
    """Build a model as qwen2.5 is, which writes its tool calls as JSON, and return its folder."""
    ids = _tokenizer(folder, _JSON_CALL)
    heads, keys, inner = 2, 1, 2 * hidden
    size = hidden // heads
    _config(
        folder, ids, "Qwen2ForCausalLM", "qwen2", hidden=hidden, layers=layers, heads=heads, keys=keys, inner=inner,
        rope_theta=1e6,
    )  # fmt: skip
    draw = _Draw(seed, ids)
    draw.ends(hidden)
    for layer in range(layers):
        at = f"model.layers.{layer}."
        draw.matrix(f"{at}self_attn.q_proj", heads * size, hidden, bias=True)
        draw.matrix(f"{at}self_attn.k_proj", keys * size, hidden, bias=True)
        draw.matrix(f"{at}self_attn.v_proj", keys * size, hidden, bias=True)
        draw.matrix(f"{at}self_attn.o_proj", hidden, heads * size)
        draw.mlp(f"{at}mlp.", hidden, inner)
        draw.norms(at, hidden)
    return _saved(folder, draw.weights)


def qwen3_next(folder: Path, *, hidden: int = 64, layers: int = 2, seed: int = 2) -> Path:
    """Build a model as qwen3-coder-next is (linear and full attention, experts, tool calls as XML); return its folder."""
    ids = _tokenizer(folder, _XML_CALL)
    heads, keys, size, experts, moe, key_heads, value_heads, linear = 2, 1, 32, 4, 32, 1, 2, 32
    _config(
        folder, ids, "Qwen3NextForCausalLM", "qwen3_next", hidden=hidden, layers=layers, heads=heads, keys=keys,
        inner=2 * hidden, rope_theta=1e7, head_dim=size, linear_num_key_heads=key_heads,
        linear_num_value_heads=value_heads, linear_key_head_dim=linear, linear_value_head_dim=linear,
        linear_conv_kernel_dim=4, num_experts=experts, num_experts_per_tok=2, decoder_sparse_step=1,
        moe_intermediate_size=moe, shared_expert_intermediate_size=moe, mlp_only_layers=[], norm_topk_prob=True,
        full_attention_interval=2, partial_rotary_factor=0.25, attention_bias=False,
    )  # fmt: skip
    draw = _Draw(seed, ids, centred=True)
    draw.ends(hidden)
    for layer in range(layers):
        at = f"model.layers.{layer}."
        if layer % 2:
            draw.matrix(f"{at}self_attn.q_proj", 2 * heads * size, hidden)  # queries and their gates
            draw.matrix(f"{at}self_attn.k_proj", keys * size, hidden)
            draw.matrix(f"{at}self_attn.v_proj", keys * size, hidden)
            draw.matrix(f"{at}self_attn.o_proj", hidden, heads * size)
            draw.norm(f"{at}self_attn.q_norm", size)
            draw.norm(f"{at}self_attn.k_norm", size)
        else:
            draw.linear_attention(f"{at}linear_attn.", hidden, key_heads * linear, value_heads * linear, value_heads)
        draw.matrix(f"{at}mlp.gate", experts, hidden)
        for expert in range(experts):
            draw.mlp(f"{at}mlp.experts.{expert}.", hidden, moe)
        draw.mlp(f"{at}mlp.shared_expert.", hidden, moe)
        draw.matrix(f"{at}mlp.shared_expert_gate", 1, hidden)
        draw.norms(at, hidden)
    return _saved(folder, draw.weights)


class _Draw:
    """Draws weights. `centred` norms are stored less one, as Qwen3-Next stores them."""

    def __init__(self, seed: int, ids: Mapping[str, int], *, centred: bool = False) -> None:
        self._random = np.random.default_rng(seed)
        self._ids = ids
        self._one = 0.0 if centred else 1.0
        self.weights: Weights = {}

    def _keep(self, name: str, value: Any) -> None:
        self.weights[name] = np.ascontiguousarray(value, dtype=np.float32)

    def matrix(self, name: str, out: int, into: int, *, bias: bool = False, gain: float = 1.0) -> None:
        self._keep(f"{name}.weight", self._random.normal(0, gain / math.sqrt(into), (out, into)))
        if bias:
            self._keep(f"{name}.bias", self._random.normal(0, 0.1, (out,)))

    def norm(self, name: str, size: int, one: float | None = None) -> None:
        self._keep(f"{name}.weight", (self._one if one is None else one) + self._random.normal(0, 0.02, (size,)))

    def norms(self, at: str, hidden: int) -> None:
        self.norm(f"{at}input_layernorm", hidden)
        self.norm(f"{at}post_attention_layernorm", hidden)

    def mlp(self, at: str, hidden: int, inner: int) -> None:
        self.matrix(f"{at}gate_proj", inner, hidden)
        self.matrix(f"{at}up_proj", inner, hidden)
        self.matrix(f"{at}down_proj", hidden, inner)

    def linear_attention(self, at: str, hidden: int, keys: int, values: int, heads: int) -> None:
        self.matrix(f"{at}in_proj_qkvz", 2 * keys + 2 * values, hidden)
        self.matrix(f"{at}in_proj_ba", 2 * heads, hidden)
        self._keep(f"{at}conv1d.weight", self._random.normal(0, 0.5, (2 * keys + values, 1, 4)))
        self._keep(f"{at}dt_bias", np.ones(heads))
        self._keep(f"{at}A_log", np.log(self._random.uniform(1, 4, heads)))
        self.norm(f"{at}norm", values // heads, one=1.0)
        self.matrix(f"{at}out_proj", hidden, values)

    def ends(self, hidden: int) -> None:
        """Draw what stands before and behind the layers; tokens that mean something to a server are never preferred."""
        self._keep("model.embed_tokens.weight", self._random.normal(0, 1, (VOCABULARY, hidden)))
        self.norm("model.norm", hidden)
        self.matrix("lm_head", VOCABULARY, hidden, gain=3.0)
        self.weights["lm_head.weight"][min(self._ids.values()) :] = 0.0


def _config(
    folder: Path, ids: Mapping[str, int], kind: str, model: str, *,
    hidden: int, layers: int, heads: int, keys: int, inner: int, **more: Any,
) -> None:  # fmt: skip
    config = {
        "architectures": [kind], "model_type": model, "hidden_act": "silu", "hidden_size": hidden,
        "num_hidden_layers": layers, "num_attention_heads": heads, "num_key_value_heads": keys,
        "intermediate_size": inner, "max_position_embeddings": 65536, "rms_norm_eps": 1e-6,
        "tie_word_embeddings": False, "vocab_size": VOCABULARY, "torch_dtype": "float32",
        "bos_token_id": ids["<|endoftext|>"], "eos_token_id": ids["<|im_end|>"], **more,
    }  # fmt: skip
    _write(folder / "config.json", config)


def _tokenizer(folder: Path, call: str) -> dict[str, int]:
    """Train a byte-level tokenizer on texts of this repository, and return the ids of its special tokens."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers

    folder.mkdir(parents=True, exist_ok=True)
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=_BPE, show_progress=False, initial_alphabet=pre_tokenizers.ByteLevel.alphabet()
    )
    made.train_from_iterator(_corpus(), trainer)
    made.add_special_tokens([AddedToken(text, special=True, normalized=False) for text in _SPECIAL])
    made.add_tokens([AddedToken(text, special=False, normalized=False) for text in _PLAIN])
    made.save(str(folder / "tokenizer.json"))
    ids: dict[str, int] = {text: made.token_to_id(text) for text in (*_SPECIAL, *_PLAIN)}
    _write(
        folder / "tokenizer_config.json",
        {
            "tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": 65536, "eos_token": "<|im_end|>",
            "pad_token": "<|endoftext|>", "clean_up_tokenization_spaces": False,
        },
    )  # fmt: skip
    _write(folder / "generation_config.json", {"eos_token_id": [ids["<|im_end|>"], ids["<|endoftext|>"]]})
    (folder / "chat_template.jinja").write_text(_template(call), "utf-8")
    return ids


def _corpus() -> Iterable[str]:
    files = [*sorted((_ROOT / "personas").rglob("*.md")), *sorted((_ROOT / "tandem").glob("*.py"))[:6]]
    return [file.read_text("utf-8") for file in files]


def _template(call: str) -> str:
    """Return a template of the ChatML kind, as Qwen's models have it."""
    return (
        r"{%- if tools %}{{ '<|im_start|>system\n' }}{%- for tool in tools %}{{ tool | tojson }}{{ '\n' }}"
        r"{%- endfor %}{{ '<|im_end|>\n' }}{%- endif %}"
        r"{%- for message in messages %}{{ '<|im_start|>' + message.role + '\n' }}"
        r"{%- if message.content %}{{ message.content }}{%- endif %}"
        r"{%- for made in message.tool_calls or [] %}{%- set tool_call = made.function or made %}"
        + call
        + r"{%- endfor %}{{ '<|im_end|>\n' }}{%- endfor %}"
        r"{%- if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{%- endif %}"
    )


def _saved(folder: Path, weights: Weights) -> Path:
    from safetensors.numpy import save_file

    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    return folder


def _write(file: Path, value: Mapping[str, Any]) -> None:
    file.write_text(json.dumps(value, indent=1), "utf-8")
