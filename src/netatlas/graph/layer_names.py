"""What the projections of an attention are called in the code of many libraries, by the last name of their module."""

from __future__ import annotations

QUERY = frozenset({"q", "q_proj", "query", "to_q", "wq", "q_lin", "linear_q", "q_linear", "q_b_proj", "query_proj", "q_net"})
KEY = frozenset(
    {"k", "k_proj", "key", "to_k", "wk", "k_lin", "linear_k", "k_linear", "key_proj", "kv", "kv_proj", "to_kv", "kv_b_proj"}
)
VALUE = frozenset(
    {"v", "v_proj", "value", "to_v", "wv", "v_lin", "linear_v", "v_linear", "value_proj", "kv", "kv_proj", "to_kv", "kv_b_proj"}
)
FUSED = frozenset({"qkv", "Wqkv", "c_attn", "query_key_value", "qkv_proj", "to_qkv", "in_proj_qkv", "qkv_net", "wqkv", "W_pack"})
OUT = frozenset(
    {
        "out_proj",
        "proj",
        "c_proj",
        "o_proj",
        "o",
        "wo",
        "to_out",
        "dense",
        "out",
        "output",
        "out_lin",
        "linear_out",
        "w_o",
        "fc_out",
        "final_proj",
    }
)
