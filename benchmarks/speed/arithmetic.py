"""How much arithmetic a step takes: what no engine can save."""

from torch.utils.flop_counter import FlopCounterMode

from benchmarks.speed.settings import Setting, learn


def megaflops_of_a_step(setting: Setting, device: str, n_steps: int) -> dict[str, float]:
    """Count PyTorch's floating-point operations while each arm trains, in millions for a step of one environment."""
    found = {}
    for arm, model in setting.make_models(device).items():
        learn(model, n_steps)
        with FlopCounterMode(display=False) as counter:
            learn(model, n_steps)
        found[arm] = counter.get_total_flops() / n_steps / 1e6
    return found
