"""No file of a run makes the program execute code. Contract row 19."""

import ast
import hashlib
import io
import json
import os
import pickle
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from speedyzero import cli
from speedyzero.checkpoint.manifest import MANIFEST_FILE, META_FILE, WEIGHTS_FILE, checkpoint_dir
from speedyzero.checkpoint.scores import SCORES_FILE, read_scores
from speedyzero.config.documents import save_config
from tests.evaluate.untrained import save_untrained, untrained_config
from tests.faults.ring_contract import reached

ROOT = Path(__file__).parents[2]
# Whatever turns bytes into objects of any kind, or into code.
UNSAFE_MODULES = {"pickle", "_pickle", "dill", "cloudpickle", "joblib", "marshal", "shelve", "runpy", "code", "imp"}
UNSAFE_NAMES = {"eval", "exec", "compile", "__import__"}
UNSAFE_CALLS = {
    *("torch.load", "torch.jit.load", "np.load", "numpy.load", "yaml.load", "yaml.unsafe_load", "yaml.full_load"),
    *("os.system", "importlib.import_module", "importlib.util.spec_from_file_location"),
    *("dist.broadcast_object_list", "dist.all_gather_object", "dist.gather_object", "dist.recv_object_list"),
}
ALLOWED = {
    # What a supervisor tells its own child over a pipe that only these two have; nothing from a file or shared memory.
    "speedyzero/runtime/fork_server/client.py": ["pickle"],
    "speedyzero/runtime/fork_server/process.py": ["pickle", "importlib.import_module"],
    # One of five files of an installed package, whose own import would bring a window system with it.
    "speedyzero/env/minatar_env.py": ["importlib.util.spec_from_file_location"],
    # What the user has named on the command line; never what a file names.
    "speedyzero/env/user_modules.py": ["importlib.import_module"],
    # By names that the source itself lists: a command's module; packages, to see whether they can be imported.
    "speedyzero/cli.py": ["importlib.import_module"],
    "speedyzero/doctor/readings.py": ["importlib.import_module"],
}


class Evil:
    """Makes a folder when it is unpickled."""

    def __init__(self, canary: Path):
        self.canary = canary

    def __reduce__(self):
        return os.mkdir, (str(self.canary),)


def pickled(canary: Path) -> bytes:
    return pickle.dumps(Evil(canary))


def saved_by_torch(canary: Path) -> bytes:
    file = io.BytesIO()
    torch.save({"state": Evil(canary)}, file)
    return file.getvalue()


def finished_run(folder: Path) -> Path:
    """A run's directory, with one checkpoint of fresh weights."""
    config = untrained_config("Catch", f"run_dir={folder}")
    save_untrained(config, folder, 1)
    save_config(config, folder / "config.yaml")
    return folder


def vouch_for(run: Path, name: str, content: bytes) -> None:
    """Put a file into the checkpoint, and its hash into the manifest: whoever can write one can write both."""
    folder = checkpoint_dir(run, 1)
    (folder / name).write_bytes(content)
    manifest = json.loads((folder / MANIFEST_FILE).read_bytes())
    manifest["files"][name] = {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    (folder / MANIFEST_FILE).write_text(json.dumps(manifest))


def edit_config(run: Path, old: str, new: str) -> None:
    text = (run / "config.yaml").read_text()
    assert old in text
    (run / "config.yaml").write_text(text.replace(old, new))


def name_a_module(run: Path, canary: Path) -> None:
    """Gymnasium's `module:Name-v0` form, of a module that can be imported."""
    (run / "payload.py").write_text(f"import os\nos.mkdir({str(canary)!r})\n")
    edit_config(run, "game: Catch", "game: payload:Evil-v0")


MALICIOUS: dict[str, Callable[[Path, Path], object]] = {
    "weights that are a pickle": lambda run, canary: vouch_for(run, WEIGHTS_FILE, pickled(canary)),
    "weights that torch saved": lambda run, canary: vouch_for(run, WEIGHTS_FILE, saved_by_torch(canary)),
    "weights with an endless header": lambda run, canary: vouch_for(run, WEIGHTS_FILE, b"\xff" * 64),
    "a meta file that is a pickle": lambda run, canary: vouch_for(run, META_FILE, pickled(canary)),
    "a manifest that is a pickle": lambda run, canary: (checkpoint_dir(run, 1) / MANIFEST_FILE).write_bytes(
        pickled(canary)
    ),
    "a manifest that lists a file elsewhere": lambda run, canary: vouch_for(run, "../../evil", pickled(canary)),
    "a config with a YAML tag": lambda run, canary: edit_config(
        run, "seed: 0", f"seed: !!python/object/apply:os.mkdir ['{canary}']"
    ),
    "a config that interpolates": lambda run, canary: edit_config(run, "seed: 0", f"seed: ${{os.mkdir:{canary}}}"),
    "a config whose game names a module": name_a_module,
}


def test_the_payloads_would_do_harm(tmp_path):
    for number, content in enumerate((pickled, saved_by_torch)):
        canary = tmp_path / f"executed-{number}"
        data = content(canary)
        pickle.loads(data) if content is pickled else torch.load(io.BytesIO(data), weights_only=False)
        assert canary.is_dir()


@pytest.mark.contract(19)
def test_a_malicious_file_is_refused_in_one_line_and_executes_nothing(tmp_path, monkeypatch, capsys):
    for name, plant in MALICIOUS.items():
        run, canary = finished_run(tmp_path / name), tmp_path / f"{name} executed"
        plant(run, canary)
        monkeypatch.syspath_prepend(str(run))
        assert cli.run(cli.check_command, ["evaluate", str(run), "--episodes", "1"], prog="speedyzero") == 2, name
        captured = capsys.readouterr()
        assert captured.err.count("\n") == 1 and captured.out == "", (name, captured)
        assert not canary.exists(), name
    reached(19, counts={"malicious files": len(MALICIOUS)})


@pytest.mark.contract(19)
def test_pickles_beside_good_files_are_never_opened(tmp_path):
    run, canary = finished_run(tmp_path / "run"), tmp_path / "executed"
    for name in ("optimizer.pt", "data.pkl"):
        vouch_for(run, name, pickled(canary))
    (checkpoint_dir(run, 1) / "extra.pkl").write_bytes(pickled(canary))
    assert callable(cli.check_command(["evaluate", str(run)], "speedyzero"))
    (run / SCORES_FILE).write_bytes(pickled(canary))
    with pytest.raises(ValueError, match="is damaged"):
        read_scores(run)
    assert not canary.exists()


@pytest.mark.contract(19)
def test_no_source_file_can_unpickle_or_execute():
    """But for the fork server, which is told what its own children are to do."""
    assert found_in("import pickle\nfrom marshal import loads\neval('1')\nimport torch\ntorch.load('x')") == [
        *("pickle", "marshal", "eval", "torch.load"),
    ]
    sources = [path for top in ("speedyzero", "kernels") for path in sorted((ROOT / top).rglob("*.py"))]
    found = {str(path.relative_to(ROOT)): found_in(path.read_text()) for path in (*sources, ROOT / "train.py")}
    assert {path: names for path, names in found.items() if names} == ALLOWED
    reached(19, f"{len(found)} source files: none unpickles, evaluates or imports what a file or shared memory holds")


def found_in(source: str) -> list[str]:
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names if alias.name.partition(".")[0] in UNSAFE_MODULES]
        elif isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] in UNSAFE_MODULES:
            found.append(node.module)
        elif isinstance(node, ast.Call):
            name = ast.unparse(node.func)
            if name in UNSAFE_NAMES | UNSAFE_CALLS or any(word.arg == "allow_pickle" for word in node.keywords):
                found.append(name)
    return found
