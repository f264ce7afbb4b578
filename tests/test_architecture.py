"""Imports run one way, and importing the package is light."""

import ast
import subprocess
import sys
from pathlib import Path

PACKAGE = Path(__file__).parents[1] / "sb3_a2c_td"
ORDER = [
    "version",
    "functional",
    "optimizers",
    "buffers",
    "policies",
    "maskable_policies",
    "recurrent_policies",
    "sequences",
    "minatar",
    "validation",
    "schedules",
    "engines.interface",
    "engines.watching",
    "engines.any_networks",
    "engines.plain_mlp",
    "engines.closed_form",
    "engines.flat_mlp",
    "engines.torch_engine",
    "engines.kernels",
    "engines.numba_engine",
    "engines.auto_engine",
    "engines.recurrent_engine",
    "engines.static_memory",
    "engines.cuda_engine",
    "engines",
    "dummy_vec_env",
    "vec_env",
    "action_masks",
    "checkpoints.errors",
    "checkpoints.allowed",
    "checkpoints.states",
    "checkpoints.unpickling",
    "checkpoints.tensors",
    "checkpoints.archives",
    "checkpoints.contents",
    "checkpoints",
    "checkpoints.atomic",
    "checkpoints.generators",
    "checkpoints.object_states",
    "checkpoints.env_states",
    "checkpoints.training_state",
    "interrupts",
    "logs",
    "workers",
    "faults",
    "td_a2c",
    "maskable_td_a2c",
    "recurrent_td_a2c",
    "resumable",
    "distributed",
    "exporting.errors",
    "exporting.packages",
    "exporting.normalization",
    "exporting.actor",
    "exporting.metadata",
    "exporting.checking",
    "exporting.onnx",
    "exporting.safetensors",
    "exporting.export",
    "exporting",
    "tabular.mdp",
    "tabular.exact",
    "tabular.problems",
    "tabular.rendering",
    "tabular.envs",
    "tabular.registration",
    "tabular.stochastic_approximation",
    "tabular.diagnostics",
    "tabular",
    "memory.tasks",
    "memory.registration",
    "memory",
    "hyperparams",
    "maskable_hyperparams",
    "recurrent_hyperparams",
    "learning_curves",
    "",
    "cli.mistakes",
    "cli.outputs",
    "cli.interrupting",
    "cli.models",
    "cli.ranks",
    "cli.train",
    "cli.evaluate",
    "cli.compare",
    "cli.inspect",
    "cli.export",
    "cli",
    "search",
    "rl_zoo3_mends",
    "zoo",
    "__main__",
]
"""modules of the package; each may import those before it"""


def name_of(path: Path) -> str:
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports_of(path: Path) -> set[str]:
    """List the modules of the package that a module imports."""
    imported = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            imported |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            submodules = {f"{node.module}.{alias.name}" for alias in node.names}
            known = {name for name in submodules if name.removeprefix("sb3_a2c_td.") in ORDER}
            imported |= known or {node.module}
    assert not {name for name in imported if name.split(".")[0] in ("benchmarks", "tests")}
    return {name.removeprefix("sb3_a2c_td").lstrip(".") for name in imported if name.split(".")[0] == "sb3_a2c_td"}


def test_imports_run_one_way() -> None:
    modules = {name_of(path): path for path in PACKAGE.rglob("*.py")}
    assert set(modules) == set(ORDER)
    for name, path in modules.items():
        for imported in imports_of(path):
            assert ORDER.index(imported) < ORDER.index(name), f"{name} imports {imported}"


def test_training_in_one_process_does_not_import_distributed() -> None:
    """Only the command line imports it, when torchrun starts it."""
    importers = [name_of(path) for path in PACKAGE.rglob("*.py") if "algorithms.distributed" in imports_of(path)]
    assert importers == ["cli.ranks"]
    code = "import sys, sb3_a2c_td.cli; print('sb3_a2c_td.algorithms.distributed' in sys.modules)"
    assert subprocess.check_output([sys.executable, "-c", code], text=True) == "False\n"


def test_the_mathematics_knows_tensors_only() -> None:
    for node in ast.walk(ast.parse((PACKAGE / "functional.py").read_text())):
        if isinstance(node, ast.Import | ast.ImportFrom):
            module = node.module if isinstance(node, ast.ImportFrom) else node.names[0].name
            assert module.split(".")[0] == "torch"


def test_importing_the_package_imports_nothing_heavy() -> None:
    """What SB3 itself does not import at once."""
    code = (
        "import sys, stable_baselines3; before = set(sys.modules); import sb3_a2c_td; print(*set(sys.modules) - before)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert {name.split(".")[0] for name in done.stdout.split()} <= {
        "sb3_a2c_td",
        "gymnasium",
        "sb3_contrib",
        "stable_baselines3",
        "threadpoolctl",
    }
