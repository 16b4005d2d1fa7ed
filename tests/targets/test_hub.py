"""A Hub repository's configuration, from a Hub that lives in this process."""

from __future__ import annotations

import http.server
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netatlas.errors import SourceError
from netatlas.targets import hub
from netatlas.targets.hub import check_sizes, read_config, read_hub, without_downloads

pytest.importorskip("huggingface_hub")

COMMIT = "0123456789abcdef0123456789abcdef01234567"

BERT = {
    "model_type": "bert", "architectures": ["BertForMaskedLM"], "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2,
    "intermediate_size": 64, "vocab_size": 99, "max_position_embeddings": 40,
}  # fmt: skip
RESNET = {
    "architecture": "resnet18", "num_classes": 7, "num_features": 512,
    "pretrained_cfg": {"tag": "a1_in1k", "input_size": [3, 64, 64], "num_classes": 7, "custom_load": False},
}  # fmt: skip

ERRORS = {  # status and X-Error-Code as the Hub sends them
    "org/missing": (401, "RepoNotFound"),
    "org/gated": (403, "GatedRepo"),
    "org/forbidden": (403, ""),
    "org/noconfig": (404, "EntryNotFound"),
    "org/oldrevision": (404, "RevisionNotFound"),
    "org/down": (500, ""),
}


class FakeHub(http.server.BaseHTTPRequestHandler):
    """Answers what huggingface_hub asks for: HEAD and GET of ``/org/name/resolve/main/config.json``."""

    files: dict[str, bytes] = {}
    requests: list[str] = []
    headers_seen: list[dict[str, str]] = []

    def _answer(self, with_body: bool) -> None:
        type(self).requests.append(f"{self.command} {self.path}")
        type(self).headers_seen.append(dict(self.headers))
        repo = "/".join(self.path.strip("/").split("/")[:2])
        body, status, code = b"", 404, "RepoNotFound"
        if repo in ERRORS:
            status, code = ERRORS[repo]
        elif repo in self.files and self.path.endswith("/config.json") and "/resolve/" in self.path:
            body, status, code = self.files[repo], 200, ""
        self.send_response(status)
        if code:
            self.send_header("X-Error-Code", code)
        if status == 200:
            self.send_header("ETag", f'"{abs(hash(body)):x}"')
            self.send_header("X-Repo-Commit", COMMIT)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if with_body:
            self.wfile.write(body)

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    FakeHub.files = {
        "org/bert": json.dumps(BERT).encode(),
        "org/resnet": json.dumps(RESNET).encode(),
        "org/large": b'{"x": "' + b"a" * (6 * 2**20) + b'"}',
        "org/text": b"not json",
    }
    FakeHub.requests.clear()
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), FakeHub)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()
    thread.join()


def run(code: str, home: Path, **environment: str) -> str:
    """The last line that a fresh Python prints, with a Hub cache in ``home`` and nothing of the caller's Hub settings."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("HF_") and "proxy" not in name.lower()}
    clean |= {"HF_HOME": str(home), "NO_PROXY": "127.0.0.1", "HF_HUB_DISABLE_PROGRESS_BARS": "1", **environment}
    done = subprocess.run([sys.executable, "-c", code], env=clean, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout.strip().splitlines()[-1]


FETCH = """
import json, sys
from netatlas.errors import SourceError
from netatlas.targets.hub import fetch_config
answers = {}
for repo in %r:
    try:
        name, _, revision = repo.partition("@")
        answers[repo] = fetch_config(name, revision or None).read_text()[:40]
    except SourceError as error:
        answers[repo] = f"{error.reason}: {error}"
assert "torch" not in sys.modules
print(json.dumps(answers))
"""


@pytest.fixture(scope="module")
def answers(endpoint, tmp_path_factory) -> dict[str, str]:
    """What one fresh process gets from the Hub at ``HF_ENDPOINT`` for every repository."""
    repos = ["org/bert", "org/large", "org/absent", *ERRORS, "org/oldrevision@v9"]
    home = tmp_path_factory.mktemp("hf")
    found: dict[str, str] = json.loads(run(FETCH % repos, home, HF_ENDPOINT=endpoint, HF_TOKEN="hf_secret"))
    found |= json.loads(run(FETCH % ["org/bert", "org/resnet"], home, HF_HUB_OFFLINE="1").replace("org/bert", "cached/bert"))
    return found


def test_config_is_fetched_from_the_endpoint_with_the_token(answers):
    assert json.loads(answers["org/bert"].partition(", ")[0] + "}") == {"model_type": "bert"}
    assert "HEAD /org/bert/resolve/main/config.json" in FakeHub.requests
    assert "GET /org/bert/resolve/main/config.json" in FakeHub.requests
    assert any(
        headers.get("authorization", headers.get("Authorization")) == "Bearer hf_secret" for headers in FakeHub.headers_seen
    )


def test_only_the_configuration_is_fetched(answers):
    others = [r for r in FakeHub.requests if r.startswith("GET") and "/resolve/" in r and not r.endswith("/config.json")]
    assert others == []


def test_what_is_too_large_is_not_fetched(answers):
    assert answers["org/large"].startswith("too large: hub:org/large: config.json has 6,")
    assert not any(request.startswith("GET /org/large") for request in FakeHub.requests)


def test_offline_reads_the_cache_and_says_what_is_missing(answers):
    assert answers["cached/bert"].startswith('{"model_type": "bert"')
    assert (
        answers["org/resnet"]
        == "offline: hub:org/resnet: config.json is not in the cache and HF_HUB_OFFLINE is set: unset it to fetch it"
    )


@pytest.mark.parametrize(
    ("repo", "words"),
    [
        ("org/missing", "no such repository: hub:org/missing: no such repository, or a private one"),
        ("org/absent", "no such repository: hub:org/absent: no such repository"),
        ("org/gated", "gated: hub:org/gated is gated: accept its terms"),
        ("org/forbidden", "access denied (HTTP 403): set HF_TOKEN"),
        ("org/noconfig", "no config: hub:org/noconfig has no config.json"),
        ("org/oldrevision@v9", "has no revision 'v9'"),
        ("org/down", "the Hub answered HTTP 500"),
    ],
)
def test_refusals_are_one_clear_line(answers, repo, words):
    assert words in answers[repo]
    assert "\n" not in answers[repo]


def test_no_server_at_all(tmp_path):
    answer = json.loads(run(FETCH % ["org/bert"], tmp_path, HF_ENDPOINT="http://127.0.0.1:9"))["org/bert"]
    assert answer.startswith(("offline: ", "not reachable: "))
    assert "127.0.0.1:9" in answer or "cannot be" in answer


READ = """
import json
from netatlas.sources import _transformers_classes
_transformers_classes.zoo()  # switches the Hub off for everybody else
from netatlas.targets.hub import read_hub
entry, = read_hub("hub:org/bert")
print(json.dumps({"id": entry.id, "facts": {k: v for k, v in entry.facts.items() if k in ("params", "heads", "hub", "source", "seq_len")},
                  "ops": list(entry.facts["ops"]), "links": dict(entry.links), "origin": entry.origins["hub"], "traced": entry.facts["traced_by"]}))
"""


def test_repository_to_entry_in_a_fresh_process(endpoint, tmp_path):
    transformers = pytest.importorskip("transformers")
    torch = pytest.importorskip("torch")
    answer = json.loads(run(READ, tmp_path, HF_ENDPOINT=endpoint))
    with torch.device("meta"):
        own = transformers.BertForMaskedLM(transformers.BertConfig(**{k: v for k, v in BERT.items() if k != "architectures"}))
    assert answer["id"] == "hub/org/bert"
    assert answer["facts"]["params"] == sum(p.numel() for p in own.parameters())
    assert answer["facts"]["hub"] == "org/bert"
    assert answer["facts"]["seq_len"] <= 40
    assert "attention" in answer["ops"]
    assert answer["links"]["weights"] == "https://huggingface.co/org/bert"
    assert "config.json" in answer["origin"]


# ---------------------------------------------------------------- in this process, from a file


@pytest.fixture
def served(tmp_path, monkeypatch):
    """A function that lets every repository have the given configuration."""

    def serve(config: object) -> None:
        path = tmp_path / "config.json"
        path.write_bytes(config if isinstance(config, bytes) else json.dumps(config).encode())
        monkeypatch.setattr(hub, "fetch_config", lambda *_: path)

    return serve


def test_timm_configuration(served):
    timm = pytest.importorskip("timm")
    served(RESNET)
    (entry,) = read_hub("org/resnet", entry_id="mine/resnet")
    assert entry.id == "mine/resnet"
    assert entry.facts["params"] == sum(p.numel() for p in timm.create_model("resnet18", num_classes=7).parameters())
    assert entry.facts["input"] == "1x3x64x64"
    assert entry.facts["input_size"] == 64
    assert entry.facts["outputs"] == 7


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"architecture": "resnet81"}, "timm .* has no architecture 'resnet81': did you mean 'resnet18"),
        ({"architecture": "hf-hub:evil/model"}, "no architecture 'hf-hub:evil/model'"),
        ({"architecture": "local-dir:/etc"}, "no architecture"),
        ({"architecture": ["resnet18"]}, "no architecture"),
        ({"model_args": {"pretrained": True}}, "model_args that timm must not be given"),
        ({"model_args": {"checkpoint_path": "/etc/passwd"}}, "model_args that timm must not be given"),
        ({"model_args": {"nonsense": 1}}, "timm cannot build resnet18 .*nonsense"),
        ({"model_args": {"layers": [2, 2, 2, 10**6]}}, r"model_args.layers = 1,000,000 in config.json is more than the 2,048"),
        ({"pretrained_cfg": {"input_size": [3, 10**5, 10**5]}}, "input_size = 100,000 .* more than"),
        ({"pretrained_cfg": {"input_size": [3, 9000, 9000]}}, "input_size .* out of bounds"),
        ({"pretrained_cfg": {"input_size": 3}}, "timm cannot build"),
    ],
)
def test_bad_timm_configuration(served, change, words):
    pytest.importorskip("timm")
    served({**RESNET, **change})
    with pytest.raises(SourceError, match=words) as caught:
        read_hub("org/resnet")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("config", "words"),
    [
        (b"not json", "config.json is not JSON"),
        (b"\xff\xfe", "config.json is not JSON"),
        (b"[" * 100_000, "config.json is not JSON"),
        ([1], "is not a JSON object"),
        ({}, "neither 'model_type'"),
        ({"model_type": 7}, "neither 'model_type'"),
        ({"model_type": "brt"}, "has no model type 'brt': did you mean 'bert'"),
        ({"model_type": "own", "auto_map": {"AutoModel": "modeling.Own"}}, "never runs code from the Hub"),
        ({"model_type": "bert", "hidden_size": "wide"}, "hub:org/x: "),
        ({"model_type": "bert", "hidden_size": 33, "num_attention_heads": 2}, "hub:org/x: .*multiple"),
        (
            {"model_type": "bert", "vocab_size": 2**31},
            r"vocab_size = 2,147,483,648 in config.json is more than the 10,000,000 allowed",
        ),
        ({"model_type": "bert", "num_hidden_layers": 10**6}, "num_hidden_layers = 1,000,000"),
        ({"model_type": "clip", "text_config": {"hidden_size": 2**40}}, "text_config.hidden_size = 1,099,511,627,776"),
        ({"model_type": "bert", "hidden_size": -(2**40)}, "hidden_size"),
        ({"model_type": "bert", "num_hidden_layers": 10**400}, "num_hidden_layers = a huge number"),
        ({"model_type": "convnext", "depths": [1] * 5000}, "depths = 5,000"),
    ],
)
def test_bad_configuration_is_refused_in_one_line(served, config, words):
    pytest.importorskip("transformers")
    served(config)
    with pytest.raises(SourceError, match=words) as caught:
        read_hub("org/x")
    assert "\n" not in str(caught.value)


def test_native_type_with_code_of_its_own_is_built_without_that_code(served):
    pytest.importorskip("transformers")
    served(
        {
            **BERT,
            "auto_map": {"AutoModel": "evil.Model"},
            "_attn_implementation": "evil/kernel",
            "quantization_config": {"quant_method": "x"},
        }
    )
    (entry,) = read_hub("org/bert")
    assert entry.facts["traced_by"] == "export"
    assert "attention" in entry.facts["ops"]


def test_nothing_that_downloads_or_runs_is_left():
    config = {
        "auto_map": {}, "use_pretrained_backbone": True, "keep": 1, "_attn_implementation": "a/b",
        "backbone_config": {"attn_implementation": "a/b", "pretrained": True, "list": [{"experts_implementation": "x", "k": 2}]},
    }  # fmt: skip
    assert without_downloads(config) == {
        "use_pretrained_backbone": False, "keep": 1, "backbone_config": {"pretrained": False, "list": [{"k": 2}]},
    }  # fmt: skip


@pytest.mark.parametrize(
    "repo",
    [
        "",
        "a/b/c",
        "../x",
        "org/..",
        "org/na me",
        "org/name\n",
        "/etc/passwd",
        "hub:",
        "org/x--y",
        "ö/x",
        "org/x@../y",
        "https://evil.example/x/y",
    ],
)
def test_not_a_repository(repo):
    with pytest.raises(SourceError, match=r"is not a (Hub repository|revision)") as caught:
        read_hub(repo)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("org/name", ("org/name", None)),
        ("hub:org/name", ("org/name", None)),
        ("gpt2", ("gpt2", None)),
        ("https://huggingface.co/org/name/", ("org/name", None)),
        ("org/name@v1.0", ("org/name", "v1.0")),
        ("Qwen/Qwen2.5-0.5B_x", ("Qwen/Qwen2.5-0.5B_x", None)),
    ],
)
def test_spellings_of_a_repository(text, expected):
    assert hub._repository(text, None) == expected


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**6), 10**6) | st.floats(-1, 1) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["a", "vocab_size", "text_config"]), inner, max_size=3)
    ),
    max_leaves=12,
)


@given(st.dictionaries(st.sampled_from(["x", "hidden", "layers", "config"]), JSON, max_size=4), st.integers(10_000_001, 2**80))
def test_a_large_vocabulary_is_found_wherever_it_hides(config, size):
    config["deep"] = [{"deeper": {"vocab_size": size}}]
    with pytest.raises(SourceError, match="more than the|too deeply"):
        check_sizes(config, "org/x")


def test_configurations_of_real_networks_pass():
    transformers = pytest.importorskip("transformers")
    for name in (
        "bert",
        "gpt2",
        "t5",
        "clip",
        "swin",
        "convnext",
        "whisper",
        "mamba2",
        "mixtral",
        "llama4",
        "deepseek_v3",
        "detr",
        "sam",
    ):
        check_sizes(transformers.AutoConfig.for_model(name).to_dict(), name)


def test_read_config_of_a_missing_encoding(tmp_path):
    (tmp_path / "config.json").write_bytes(b'{"a": 1}')
    assert read_config(tmp_path / "config.json", "org/x") == {"a": 1}
