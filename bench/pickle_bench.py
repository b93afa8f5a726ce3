"""The time to parse data.pkl of a checkpoint with very many entries, against
torch's own weights_only unpickler on the same bytes.

    pickle_bench.py [--entries 100000] [--rounds 7] [--json FILE]

Each figure is the least CPU time of --rounds runs. torch's side is given its storages
for nothing (one for all), so that only the unpickling counts. The limit: ours
takes at most a tenth.
"""
import argparse
import io
import json
import pathlib
import subprocess
import sys
import tempfile
import time
import zipfile

import torch
from torch import _weights_only_unpickler

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests"))

from support.programs import BIN_DIR  # noqa: E402

LIMIT = 0.1


def state_dict(entries):
    """Tensors under the names of a deep model."""
    names = ("self_attn.q_proj.weight", "self_attn.q_proj.bias",
             "mlp.up_proj.weight", "mlp.up_proj.bias")
    return {f"model.layers.{i // 4}.{names[i % 4]}": torch.zeros(2)
            for i in range(entries)}


def optimizer_state(entries):
    """What Adam keeps of a quarter as many parameters: scalars and tensors in
    many small dicts."""
    return {"state": {i: {"step": torch.tensor(1.0), "exp_avg": torch.zeros(2),
                          "exp_avg_sq": torch.zeros(2), "lr": 0.1}
                      for i in range(entries // 4)},
            "param_groups": [{"params": list(range(entries // 4))}]}


def pickle_of(value):
    buffer = io.BytesIO()
    torch.save(value, buffer)
    with zipfile.ZipFile(buffer) as file:
        return file.read(file.namelist()[0])


def torch_seconds(pickle, rounds):
    # Its tensors are of two elements: more threads would only wait.
    torch.set_num_threads(1)
    storage = torch.zeros(2).storage()
    best = float("inf")
    for _ in range(rounds):
        unpickler = _weights_only_unpickler.Unpickler(io.BytesIO(pickle))
        unpickler.persistent_load = lambda _: storage
        start = time.process_time()
        value = unpickler.load()
        best = min(best, time.process_time() - start)
        del value
    return best


def our_seconds(pickle, rounds):
    with tempfile.NamedTemporaryFile() as file:
        file.write(pickle)
        file.flush()
        done = subprocess.run(
            [BIN_DIR / "pickle_parse_bench", file.name, str(rounds)],
            check=True, capture_output=True, text=True)
    return float(done.stdout)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--entries", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--json", type=pathlib.Path)
    options = parser.parse_args()
    figures = {}
    missed = []
    for make in (state_dict, optimizer_state):
        pickle = pickle_of(make(options.entries))
        theirs = torch_seconds(pickle, options.rounds)
        ours = our_seconds(pickle, options.rounds)
        ratio = ours / theirs
        name = make.__name__.replace("_", " ")
        verdict = "ok" if ratio <= LIMIT else "MISSED"
        if ratio > LIMIT:
            missed.append(name)
        print(f"  {name:<16} {len(pickle) / 1e6:6.1f} MB  torch "
              f"{1e3 * theirs:7.1f} ms  ckptfs {1e3 * ours:7.1f} ms  ratio "
              f"{ratio:.3f}  {verdict} (at most {LIMIT:g})", flush=True)
        figures[name] = {"bytes": len(pickle), "torch_s": theirs,
                         "ckptfs_s": ours, "ratio": round(ratio, 4)}
    if options.json:
        options.json.write_text(json.dumps(
            {"entries": options.entries, "figures": figures,
             "missed": missed}, indent=2) + "\n")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
